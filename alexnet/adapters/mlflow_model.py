"""A checkpoint as the files of a version of the registered model (`alexnet/registry/artifact.py`).

`docs/decisions/0004-the-registered-model.md` says why they are these, and not `torch.export`'s.
"""

import base64
import shutil
import statistics
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version as installed
from pathlib import Path

import mlflow
import pandas as pd
import torch
import yaml
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array

import alexnet
from alexnet import classifier
from alexnet.classifier import About, Classifier
from alexnet.config import RunConfig
from alexnet.dataset.manifest import Manifest
from alexnet.registry import artifact, lineage, onnx_export, probe
from alexnet.registry.lineage import Lineage
from alexnet.runs import checkpoint
from alexnet.storage import scratch

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A checkpoint that is to become a version."""

    folder: Path
    """The checkpoint."""
    config: RunConfig
    """Of the run that wrote it."""
    manifest: Manifest
    """Of the data that it was trained on."""
    images: list[bytes]
    """Files from the validation split, for the probe."""
    lineage: Lineage


@contextmanager
def staged(candidate: Candidate) -> Iterator[tuple[Path, Lineage]]:
    """The files of a version, in a folder of this machine.

    Returns:
        The folder, and the lineage as it lies in it, with the digests of all other files.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ArtifactError: ONNX was asked for, and its graph is another network.
    """
    with scratch.folder() as work:
        made, folder = work / "made", work / "model"
        for place in (made, made / "alexnet"):
            place.mkdir()
        _write_data(made, candidate)
        for name in artifact.CODE:
            file = f"{name}.py"
            shutil.copyfile(Path(alexnet.__file__).with_name(file), made / "alexnet" / file)
        _save(folder, made, candidate)
        _leave_out_paths(folder / "MLmodel")
        made_from = replace(candidate.lineage, files=artifact.digests(folder))
        (folder / artifact.DATA / lineage.NAME).write_bytes(made_from.to_json())
        yield folder, made_from


def _write_data(made: Path, candidate: Candidate) -> None:
    config, manifest, images = candidate.config, candidate.manifest, candidate.images
    about = About(
        classes=manifest.classes,
        image_px=config.data.image_px,
        mean=manifest.colour.mean,
        std=manifest.colour.std,
        model=asdict(config.model),
    )
    classifier.write(made, checkpoint.read_state(candidate.folder)["model"], about)
    network = Classifier(made / classifier.WEIGHTS, made / classifier.ABOUT)
    probe.write(made / artifact.PROBE, images, network.logits(images).numpy())
    card = _card(candidate, _timings(network, images))
    (made / artifact.CARD).write_text(card, encoding="utf-8")
    if config.registry.onnx:
        onnx_export.write(made / artifact.ONNX, network, images)
    (made / lineage.NAME).write_bytes(b"")  # MLflow notes where it lies before it is known


def _save(folder: Path, made: Path, candidate: Candidate) -> None:
    names = artifact.data_files(onnx=candidate.config.registry.onnx)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*type hints.*")
        mlflow.pyfunc.save_model(
            path=folder,
            python_model=str(Path(__file__).with_name(artifact.SERVED)),
            artifacts={key: str(made / name) for key, name in names.items()},
            code_paths=[str(made / "alexnet")],
            signature=SIGNATURE,
            input_example=pd.DataFrame({"image": [base64.b64encode(candidate.images[0]).decode()]}),
            pip_requirements=[f"{package}=={installed(package)}" for package in REQUIREMENTS],
            mlflow_model=Model(run_id=candidate.lineage.mlflow_run_id),
        )


def _leave_out_paths(mlmodel: Path) -> None:
    """MLflow writes down where files lay on this machine; it does not read that again."""
    tree = yaml.safe_load(mlmodel.read_text(encoding="utf-8"))
    flavor = tree["flavors"]["python_function"]
    flavor["model_code_path"] = artifact.SERVED
    for entry in flavor["artifacts"].values():
        entry["uri"] = entry["path"]
    mlmodel.write_text(yaml.safe_dump(tree), encoding="utf-8")


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


def _card(candidate: Candidate, timings: dict[str, float]) -> str:
    """What the model is, for people."""
    config, manifest, metrics = candidate.config, candidate.manifest, candidate.lineage.metrics
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
