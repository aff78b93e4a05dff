"""Tries what a training does to MLflow, and leaves nothing behind.

A run cannot be deleted for good over HTTP, nor can an experiment, and a deleted one keeps its name.
A registered model can. So the test registers one without a run, and writes a file beside where the
artifacts of runs go. Where the server does not pass files on itself, a version of that model names
the file's folder, and the server is asked for the file. MLflow's webhooks see such a model.
"""

import secrets
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from alexnet.adapters.mlflow_connection import connect, errors, shown
from alexnet.config import RegistryConfig
from alexnet.errors import TrackingError, first_line
from alexnet.training.resource_needs import Finding

FILE, CONTENT = "written.txt", "written"

LOCAL = ("", "file")
"""Schemes of a folder of whoever asks."""


def check_writable(settings: RegistryConfig) -> Finding:
    """Write to the experiment, the registry and the artifacts, read back, and delete it.

    Raises:
        TrackingError: MLflow does not answer or refuses; what it keeps cannot be read elsewhere.
    """
    uri = connect()
    if (database := _database(uri)) and not database.exists():
        with errors(uri):
            _try_folder(database.parent)
        return Finding("ok", "MLflow", f"{shown(uri)}: not there yet, and can be made")
    with errors(uri):
        client: Any = MlflowClient(uri)
        location = _experiment(client, uri, settings.experiment)
        name = f"write-test-{secrets.token_hex(8)}"
        client.create_registered_model(name)
        unsure = "where a new experiment has its artifacts is not known before it is made"
        try:
            if location:
                unsure = _artifacts(client, uri, f"{location.rstrip('/')}/{name}", name)
        finally:
            client.delete_registered_model(name)
    if unsure:
        return Finding("warn", "MLflow", f"{shown(uri)}: {unsure}")
    return Finding(
        "ok", "MLflow", f"{shown(uri)}: a tag, a model and a file were written, read and deleted"
    )


def _database(uri: str) -> Path | None:
    """The file of a SQLite database."""
    path = uri.removeprefix("sqlite:///")
    return None if path == uri else Path(path)


def _experiment(client: Any, uri: str, name: str) -> str:
    """Where the artifacts of an experiment are, which can be written to.

    Of one that is not there yet: the default one's, as MLflow says of no other where it would be;
    empty if that is gone too.
    """
    found = client.get_experiment_by_name(name)
    if not found:
        default = client.search_experiments(ViewType.ALL, filter_string="name = 'Default'")
        return str(default[0].artifact_location) if default else ""
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"MLflow at {shown(uri)}: experiment {name!r} was deleted, and its name is kept. "
            "Restore it, or name another as registry.experiment."
        )
    tag = f"write-test-{secrets.token_hex(8)}"
    client.set_experiment_tag(found.experiment_id, tag, CONTENT)
    client.delete_experiment_tag(found.experiment_id, tag)
    return str(found.artifact_location)


def _artifacts(client: Any, uri: str, place: str, name: str) -> str:
    """Write, read and delete a file; why the server does not serve it, or the empty string."""
    if urlsplit(place).scheme in LOCAL:
        folder = Path(urlsplit(place).path).parent
        if urlsplit(uri).scheme not in ("sqlite", *LOCAL):
            raise TrackingError(
                f"MLflow at {shown(uri)}: has its artifacts in {folder}, which each machine would "
                "take for a folder of its own: nobody else could read a model that is registered "
                "here. Start the server with --serve-artifacts or --default-artifact-root "
                "s3://BUCKET, and name a new registry.experiment: one keeps its place."
            )
        _try_folder(folder)
        return ""
    files = get_artifact_repository(place)
    with tempfile.TemporaryDirectory(prefix="write-test-") as temporary:
        path = Path(temporary) / FILE
        path.write_text(CONTENT)
        try:
            files.log_artifact(str(path))  # type: ignore[no-untyped-call]
            path.unlink()
            back = files.download_artifacts(FILE, temporary)  # type: ignore[no-untyped-call]
            if Path(back).read_text() != CONTENT:
                raise TrackingError(f"MLflow at {shown(uri)}: {place}: other bytes are read back.")
            by_server = urlsplit(place).scheme in ("mlflow-artifacts", "http", "https")
            return "" if by_server else _unserved(client, uri, place, name)
        finally:
            files.delete_artifacts()  # type: ignore[no-untyped-call]


def _unserved(client: Any, uri: str, place: str, name: str) -> str:
    if not uri.startswith("http"):
        return ""
    try:
        version = client.create_model_version(name, place, await_creation_for=0).version
        asked = {"name": name, "version": version, "path": FILE}
        server = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
        got = http_request(  # type: ignore[no-untyped-call]
            server, "/model-versions/get-artifact", "GET", params=asked, max_retries=0
        )
        reason = f"answers {got.status_code}" if got.text != CONTENT else ""
    except MlflowException as error:
        reason = first_line(error)[:200].rstrip(".")
    if not reason:
        return ""
    said = f"cannot read {place.rpartition('/')[0]}, which this machine can write: {reason}"
    return f"{said}. Its pages will show no artifacts. Give the server access to them."


def _try_folder(folder: Path) -> None:
    """Write into the nearest folder above that exists."""
    while not folder.exists():
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass
