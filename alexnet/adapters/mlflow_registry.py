"""Versions of the registered model: how one is made, found, fetched, tagged and aliased."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from alexnet.adapters import mlflow_model
from alexnet.adapters.mlflow_connection import translated
from alexnet.adapters.mlflow_model import Candidate
from alexnet.errors import AlexNetError, ArtifactError, PromotionError
from alexnet.registry import artifact
from alexnet.registry.lineage import RUN_KEY, Lineage, sha256
from alexnet.storage import scratch

LINEAGE, WEIGHTS = "lineage_sha256", "weights_sha256"
"""Tags of a version: the digests of its `lineage.json` and of its weights."""

DECISIONS = "decisions_url"
"""Tag of the registered model: the folder with what was decided about its versions. Set when the
model is made, in the same transaction, so that all who promote agree on it."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the registered model."""

    name: str
    number: int
    aliases: tuple[str, ...]
    """Those that are set on it, sorted."""
    run_id: str
    """MLflow run that made it."""
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """By which MLflow loads it."""
        return f"models:/{self.name}/{self.number}"

    @property
    def shown(self) -> str:
        """For people."""
        return f"{self.name} version {self.number}"


def register(name: str, candidate: Candidate, decisions_url: str) -> Version:
    """Make a version of a checkpoint, with alias `challenger`.

    A checkpoint has one version, however often this is called and wherever it was interrupted: what
    was done is found, and the rest is done.

    Args:
        name: of the registered model; made if there is none.
        candidate: the checkpoint and what belongs to it.
        decisions_url: folder for what will be decided, if the registered model is made now.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        TrackingError: MLflow does not answer or refuses.
    """
    client, made_from = MlflowClient(), candidate.lineage
    run_id, step = made_from.mlflow_run_id, str(made_from.step)
    with _errors(f"registered model {name}: cannot make a version", "The checkpoint is kept."):
        number = _made(client, name, run_id, step)
        if number is None:
            model = _logged(client, run_id, step) or _log(client, candidate)
            digests = {key: model.params[key] for key in (LINEAGE, WEIGHTS)}
            tags = {**made_from.tags(), **digests}
            number = _create(client, name, model, run_id, tags, decisions_url)
        held = Registry(name).aliases()
        # A run that is registered again must not take the place of a newer one.
        if number >= held.get("challenger", 0):
            client.set_registered_model_alias(name, "challenger", str(number))
    return Registry(name).find(str(number))


class Registry:
    """One registered model in MLflow.

    Every method raises `TrackingError` if MLflow does not answer or refuses.
    """

    def __init__(self, name: str) -> None:
        """Connect."""
        self.name = name
        with _errors(f"registered model {name}"):
            self._client = MlflowClient()

    def decisions_url(self) -> str:
        """The folder with what was decided.

        Raises:
            PromotionError: the registered model does not say.
            TrackingError: there is no such model.
        """
        with _errors(f"registered model {self.name}"):
            tags = self._client.get_registered_model(self.name).tags
        if DECISIONS not in tags:
            raise PromotionError(
                f"registered model {self.name}: has no tag {DECISIONS}. Set it to a folder that "
                "all who promote can write."
            )
        return str(tags[DECISIONS])

    def aliases(self) -> dict[str, int]:
        """Number of the version that each alias is set on.

        Some of MLflow's servers leave the alias of a deleted version; it counts as not there.
        """
        with _errors(f"registered model {self.name}"):
            held = self._client.get_registered_model(self.name).aliases
        there = self._numbers() if held else set()
        return {alias: int(number) for alias, number in held.items() if int(number) in there}

    def held(self, alias: str) -> Version | None:
        """The version that an alias is set on; None if there is none, or no such model yet."""
        number = self.aliases().get(alias) if self.exists() else None
        return self.find(str(number)) if number else None

    def exists(self) -> bool:
        """Whether there is such a registered model."""
        with _errors(f"registered model {self.name}"):
            return bool(self._client.search_registered_models(f"name = '{self.name}'"))

    def has(self, numbers: Collection[int | None]) -> bool:
        """Whether all of these versions exist."""
        return self._numbers() >= set(numbers)

    def _numbers(self) -> set[int]:
        """Of all versions."""
        with _errors(f"registered model {self.name}"):
            found = self._client.search_model_versions(f"name = '{self.name}'")
        return {int(version.version) for version in found}

    def made_by(self, run_key: str) -> Version | None:
        """The version that a run has made, if it has."""
        return self._tagged(RUN_KEY, run_key)

    def with_weights(self, sha256: str) -> Version | None:
        """A version that has just these weights."""
        return self._tagged(WEIGHTS, sha256)

    def _tagged(self, tag: str, value: str) -> Version | None:
        with _errors(f"registered model {self.name}"):
            found = self._client.search_model_versions(f"name = '{self.name}'")
        numbers = sorted(int(each.version) for each in found if each.tags.get(tag) == value)
        return self.find(str(numbers[0])) if numbers else None

    def find(self, reference: str) -> Version:
        """A version by its number or an alias.

        Raises:
            TrackingError: there is none.
        """
        with _errors(f"registered model {self.name}, version {reference}"):
            if reference.isdigit():
                found = self._client.get_model_version(self.name, reference)
            else:
                found = self._client.get_model_version_by_alias(self.name, reference)
            aliases = tuple(sorted(found.aliases))
            number = int(found.version)
            return Version(self.name, number, aliases, found.run_id or "", dict(found.tags))

    @contextmanager
    def fetched(self, version: Version) -> Iterator[tuple[Path, Lineage]]:
        """A version's files, held to what was registered; none of them was run.

        Raises:
            ArtifactError: they are not what was registered, or not what they may be.
        """
        if LINEAGE not in version.tags:
            raise ArtifactError(
                f"{version.shown}: has no tag {LINEAGE}, so no training of this pipeline has "
                "registered it. Register one by pipelines/train.py."
            )
        with scratch.folder() as folder:
            with _errors(version.shown):
                number = str(version.number)
                uri = self._client.get_model_version_download_uri(self.name, number)
                files = get_artifact_repository(uri)
                artifact.check_listing(version.shown, _listing(files))
                files.download_artifacts("", str(folder))  # type: ignore[no-untyped-call]
            yield folder, artifact.check(version.shown, folder, version.tags[LINEAGE])

    def annotate(self, number: int, tags: Mapping[str, str], files: Mapping[str, str]) -> None:
        """Write tags on a version, and texts among the artifacts of the run that made it."""
        version = self.find(str(number))
        with _errors(version.shown):
            for name, text in files.items():
                if version.run_id:
                    self._client.log_text(version.run_id, text, name)
            for key, value in tags.items():
                self._client.set_model_version_tag(self.name, str(number), key, value)

    def set_alias(self, alias: str, number: int | None) -> None:
        """Set an alias on a version, or take it away."""
        with _errors(f"registered model {self.name}, alias {alias}"):
            if number is None:
                self._client.delete_registered_model_alias(self.name, alias)
            else:
                self._client.set_registered_model_alias(self.name, alias, str(number))

    def run_status(self, version: Version) -> str:
        """MLflow's status of the run that made a version; empty if there is none."""
        try:
            return str(self._client.get_run(version.run_id).info.status)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return ""
            raise translated(error, mlflow.get_tracking_uri()) from error


@contextmanager
def _errors(what: str, advice: str = "") -> Iterator[None]:
    """What requests, SQLAlchemy and MLflow raise, as a `TrackingError`."""
    try:
        yield
    except AlexNetError:
        raise
    except Exception as error:
        said = translated(error, mlflow.get_tracking_uri())
        raise type(said)(f"{what}: {said} {advice}".rstrip()) from error


def _listing(files: Any, folder: str | None = None) -> dict[str, int]:
    """Bytes of each file below an artifact's folder, by path."""
    found: dict[str, int] = {}
    for entry in files.list_artifacts(folder):
        if entry.is_dir:
            found |= _listing(files, entry.path)
        else:
            found[entry.path] = entry.file_size or 0
    return found


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


def _log(client: MlflowClient, candidate: Candidate) -> Any:
    made_from = candidate.lineage
    run_id = made_from.mlflow_run_id
    experiment = client.get_run(run_id).info.experiment_id
    with mlflow_model.staged(candidate) as (folder, whole):
        model = client.create_logged_model(
            experiment,
            name="model",
            source_run_id=run_id,
            params={
                "step": str(made_from.step),
                LINEAGE: sha256(whole.to_json()),
                WEIGHTS: whole.weights_sha256,
            },
        )
        client.log_model_artifacts(model.model_id, str(folder))
    best = {f"best/{key}": value for key, value in made_from.metrics.items()}
    mlflow.log_metrics(best, run_id=run_id, model_id=model.model_id)
    return client.finalize_logged_model(model.model_id, "READY")


def _create(
    client: MlflowClient,
    name: str,
    model: Any,
    run_id: str,
    tags: dict[str, str],
    decisions_url: str,
) -> int:
    try:
        client.create_registered_model(name, tags={DECISIONS: decisions_url})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    client.create_model_version(name, model.model_uri, run_id, tags=tags, model_id=model.model_id)
    number = _made(client, name, run_id, tags["step"])
    if number is None:
        raise MlflowException(f"the version of run {run_id} that was just made is not there")
    return number
