"""What a version of the registered model consists of, and how MLflow keeps it.

    mlflow_served_model.py         the program that MLflow runs
    code/alexnet/                  the modules that it needs, and no others
    artifacts/weights.safetensors  the network's state
    artifacts/about.json           classes, preprocessing, shape of the network
    artifacts/probe.safetensors    a few images, and the logits that a faithful copy gives for them
    artifacts/model_card.md        what the model is, for people

Nothing in it is pickled. `docs/decisions/0004-the-registered-model.md` says why not `torch.export`.
"""

import base64
import shutil
import statistics
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import torch
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array

import alexnet
from alexnet import checkpoint, classifier, probe, scratch
from alexnet.classifier import About, Classifier
from alexnet.config import RunConfig
from alexnet.manifest import Manifest

SERVED_MODEL = Path(__file__).with_name("mlflow_served_model.py")

CODE = ("__init__", "augment", "classifier", "config", "errors", "images", "model")
"""Modules that serving imports."""

PROBE, CARD = "probe.safetensors", "model_card.md"

REQUIREMENTS = (
    "mlflow",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "safetensors",
    "simplejpeg",
    "torch",
)
"""What serving needs, at the versions that trained it; no Ray, no boto3."""

SIGNATURE = ModelSignature(
    # A file, base64 or pixels.
    inputs=Schema([ColSpec(AnyType(), "image")]),  # type: ignore[no-untyped-call]
    outputs=Schema(
        [
            ColSpec(DataType.string, "class"),
            ColSpec(DataType.double, "probability"),
            ColSpec(Array(DataType.string), "top_classes"),
            ColSpec(Array(DataType.double), "top_probabilities"),
            ColSpec(Array(DataType.double), "probabilities"),
        ]
    ),
    params=ParamSchema([ParamSpec("top_k", DataType.integer, 5)]),
)

REPEATS = 15
"""Of a timing; the median counts."""

BATCH = 32
"""Images of the throughput."""


@contextmanager
def staged(
    folder: Path,
    config: RunConfig,
    manifest: Manifest,
    images: list[bytes],
    metrics: Mapping[str, float],
) -> Iterator[Path]:
    """The files of a version, made of a checkpoint, in a folder of this machine.

    Args:
        folder: the checkpoint.
        config: of the run that wrote it.
        manifest: of the data that it was trained on.
        images: files for the probe.
        metrics: of the checkpoint on the validation split.

    Raises:
        CheckpointError: the checkpoint cannot be read.
    """
    weights = checkpoint.read_state(folder)["model"]
    about = About(
        classes=manifest.classes,
        image_px=config.data.image_px,
        mean=manifest.colour.mean,
        std=manifest.colour.std,
        model=asdict(config.model),
    )
    with scratch.folder() as made:
        classifier.write(made, weights, about)
        network = Classifier(made / classifier.WEIGHTS, made / classifier.ABOUT)
        probe.write(made / PROBE, images, network.logits(images).numpy())
        card = _card(config, manifest, metrics, _timings(network, images))
        (made / CARD).write_text(card, encoding="utf-8")
        package = made / "alexnet"
        package.mkdir()
        for name in CODE:
            shutil.copyfile(Path(alexnet.__file__).with_name(f"{name}.py"), package / f"{name}.py")
        yield made


def log(made: Path, run_id: str, params: Mapping[str, str]) -> Any:
    """Keep staged files as a logged model of an MLflow run.

    Args:
        made: from `staged`.
        run_id: of the run.
        params: by which it is found again.

    Returns:
        MLflow's word about it, with `model_uri` and `model_id`.
    """
    artifacts = {
        "weights": classifier.WEIGHTS,
        "about": classifier.ABOUT,
        "probe": PROBE,
        "model_card": CARD,
    }
    files, _ = probe.read(made / PROBE)
    with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*type hints.*")
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SERVED_MODEL),
            artifacts={key: str(made / name) for key, name in artifacts.items()},
            code_paths=[str(made / "alexnet")],
            signature=SIGNATURE,
            input_example=pd.DataFrame({"image": [base64.b64encode(files[0]).decode()]}),
            pip_requirements=[f"{package}=={installed(package)}" for package in REQUIREMENTS],
            params=dict(params),
        )


def _timings(network: Classifier, images: list[bytes]) -> dict[str, float]:
    """Milliseconds an image alone on one core, and images/s of a batch on all cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone_s = _median_s(network, images[:1])
    finally:
        torch.set_num_threads(threads)
    batch = (images * BATCH)[:BATCH]
    return {"alone_ms": 1000 * alone_s, "images_per_s": BATCH / _median_s(network, batch)}


def _median_s(network: Classifier, files: list[bytes]) -> float:
    network.logits(files)  # the first one also sets up buffers
    took = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        network.logits(files)
        took.append(time.perf_counter() - begun)
    return statistics.median(took)


def _card(
    config: RunConfig,
    manifest: Manifest,
    metrics: Mapping[str, float],
    timings: Mapping[str, float],
) -> str:
    """What the model is, for people."""
    px, cores = config.data.image_px, torch.get_num_threads()
    return f"""# AlexNet for {manifest.name}

Classifies an image into one of {len(manifest.classes)} classes. Input: an image file of any size
(JPEG, PNG, GIF, BMP, WebP), the same in base64, or pixels. The short side is scaled to
{px * 256 / 224:.0f} pixels and the centre of {px} x {px} is cut out, as in validation. EXIF
orientation is ignored, transparency is dropped.

| measured | |
|---|---|
| images of the validation split, one centre crop each | {manifest.num_samples("val")} |
| top-1 | {metrics["top1"]:.4f} |
| top-5 | {metrics["top5"]:.4f} |
| cross-entropy, nats | {metrics["loss"]:.4f} |
| one image alone on one core, with decoding | {timings["alone_ms"]:.1f} ms |
| batches of {BATCH}, {cores} threads, with decoding | {timings["images_per_s"]:.0f} images/s |

Trained on {manifest.num_samples("train")} images of manifest {manifest.digest}
for {config.train.epochs} epochs with batches of {config.train.global_batch_size}; network of width
{config.model.width:g}. It knows no other classes, and answers one of them for any image.
"""
