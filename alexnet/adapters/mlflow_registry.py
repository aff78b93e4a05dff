"""Versions of the registered model, and their aliases."""

import json
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array
from safetensors.torch import save_file

import alexnet
from alexnet import checkpoint
from alexnet.config import RunConfig
from alexnet.errors import TrackingError
from alexnet.manifest import Manifest

SERVED_MODEL = Path(__file__).with_name("mlflow_served_model.py")

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
    inputs=Schema([ColSpec(DataType.binary, "image")]),
    outputs=Schema(
        [
            ColSpec(DataType.string, "class"),
            ColSpec(DataType.double, "probability"),
            ColSpec(Array(DataType.double), "probabilities"),
        ]
    ),
)


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the registered model."""

    name: str
    number: int
    aliases: tuple[str, ...]
    """Those that were set on it."""


def register(
    folder: Path,
    config: RunConfig,
    manifest: Manifest,
    run_id: str,
    metrics: Mapping[str, float],
) -> Version:
    """Make a version of `registry.model_name` from a checkpoint, with alias `challenger`.

    It becomes `champion` too if there is none yet. If this run's checkpoint has a version already,
    because the command was killed right after making it, that one is meant.

    Args:
        folder: the checkpoint.
        config: of the run that wrote it.
        manifest: of the data that it was trained on.
        run_id: MLflow run that it belongs to.
        metrics: of the checkpoint on the validation split.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        TrackingError: MLflow does not answer or refuses.
    """
    meta = checkpoint.read_meta(folder)
    weights = checkpoint.read_state(folder)["model"]
    about = {
        "classes": list(manifest.classes),
        "image_px": config.data.image_px,
        "mean": manifest.colour.mean,
        "std": manifest.colour.std,
        "model": asdict(config.model),
    }
    tags = {name: f"{value:.6g}" for name, value in metrics.items()} | {
        "manifest_digest": manifest.digest,
        "config_digest": config.digest(),
        "step": str(meta.step),
    }
    name = config.registry.model_name
    with tempfile.TemporaryDirectory(prefix="alexnet-model-") as staged:
        files = {key: str(Path(staged) / f) for key, f in _FILES.items()}
        save_file({key: t.contiguous() for key, t in weights.items()}, files["weights"])
        Path(files["about"]).write_text(json.dumps(about), encoding="utf-8")
        try:
            return _create(name, files, run_id, tags, metrics)
        except (MlflowException, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise TrackingError(
                f"registered model {name}: cannot make a version: {reason}. The checkpoint is kept."
            ) from error


_FILES = {"weights": "weights.safetensors", "about": "about.json"}


def _create(
    name: str,
    files: dict[str, str],
    run_id: str,
    tags: dict[str, str],
    metrics: Mapping[str, float],
) -> Version:
    client = MlflowClient()
    for made in client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
        if made.tags.get("step") == tags["step"]:
            return _aliased(client, name, made.version)
    with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
        # An example would make MLflow load and run the model once more; our tests do that.
        warnings.filterwarnings("ignore", ".*An input example was not provided")
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SERVED_MODEL),
            artifacts=files,
            code_paths=[str(Path(alexnet.__file__).parent)],
            signature=SIGNATURE,
            pip_requirements=[f"{package}=={installed(package)}" for package in REQUIREMENTS],
        )
        mlflow.log_metrics(
            {f"best/{key}": value for key, value in metrics.items()}, model_id=logged.model_id
        )
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        name, logged.model_uri, run_id, tags=tags, model_id=logged.model_id
    )
    return _aliased(client, name, made.version)


def _aliased(client: MlflowClient, name: str, number: str) -> Version:
    model = client.get_registered_model(name)
    for alias in ("challenger",) if "champion" in model.aliases else ("challenger", "champion"):
        client.set_registered_model_alias(name, alias, number)
    held = client.get_registered_model(name).aliases
    return Version(name, int(number), tuple(sorted(key for key in held if held[key] == number)))
