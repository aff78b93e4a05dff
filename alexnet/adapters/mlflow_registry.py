"""Versions of the registered model, and their aliases."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from alexnet import checkpoint
from alexnet.adapters import mlflow_model
from alexnet.config import RunConfig
from alexnet.errors import TrackingError
from alexnet.manifest import Manifest


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
    images: list[bytes],
) -> Version:
    """Make a version of `registry.model_name` from a checkpoint, with alias `challenger`.

    A checkpoint has one version, however often this is called and wherever it was interrupted: what
    was done is found, and the rest is done.

    Args:
        folder: the checkpoint.
        config: of the run that wrote it.
        manifest: of the data that it was trained on.
        run_id: MLflow run that it belongs to.
        metrics: of the checkpoint on the validation split.
        images: files from the validation split, by which the version is recognized.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        TrackingError: MLflow does not answer or refuses.
    """
    client, name = MlflowClient(), config.registry.model_name
    tags = {key: f"{value:.6g}" for key, value in metrics.items()} | {
        "manifest_digest": manifest.digest,
        "config_digest": config.digest(),
        "step": str(checkpoint.read_meta(folder).step),
    }
    try:
        number = _made(client, name, run_id, tags["step"])
        if number is None:
            model = _logged(client, run_id, tags["step"])
            if model is None:
                with mlflow_model.staged(folder, config, manifest, images, metrics) as made:
                    model = mlflow_model.log(made, run_id, {"step": tags["step"]})
                best = {f"best/{key}": value for key, value in metrics.items()}
                mlflow.log_metrics(best, run_id=run_id, model_id=model.model_id)
            number = _create(client, name, run_id, model, tags)
        return _aliased(client, name, number)
    except (MlflowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TrackingError(
            f"registered model {name}: cannot make a version: {reason}. The checkpoint is kept."
        ) from error


def _made(client: MlflowClient, name: str, run_id: str, step: str) -> int | None:
    """The version of this checkpoint, if there is one.

    A request whose answer was lost is sent again by MLflow's client, and may have made two: then
    the first one stays.
    """
    found = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    numbers = sorted(int(version.version) for version in found if version.tags.get("step") == step)
    for number in numbers[1:]:
        client.delete_model_version(name, str(number))
    return numbers[0] if numbers else None


def _logged(client: MlflowClient, run_id: str, step: str) -> Any:
    """The logged model of this checkpoint, if all of it was kept."""
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
    whole = (model for model in found if model.status == LoggedModelStatus.READY)
    return next((model for model in whole if model.params.get("step") == step), None)


def _create(client: MlflowClient, name: str, run_id: str, model: Any, tags: dict[str, str]) -> int:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    client.create_model_version(name, model.model_uri, run_id, tags=tags, model_id=model.model_id)
    number = _made(client, name, run_id, tags["step"])
    if number is None:
        raise MlflowException(f"the version of run {run_id} that was just made is not there")
    return number


def _aliased(client: MlflowClient, name: str, number: int) -> Version:
    held = client.get_registered_model(name).aliases
    # A run that is registered again must not take the place of a newer one.
    if number >= int(held.get("challenger", 0)):
        client.set_registered_model_alias(name, "challenger", str(number))
    held = client.get_registered_model(name).aliases
    return Version(name, number, tuple(sorted(key for key in held if int(held[key]) == number)))
