"""The MLflow server of a command: its address, timeouts, errors in one line."""

import contextlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from requests.exceptions import RequestException

from alexnet.errors import TrackingError, TrackingUnavailableError, first_line

DEFAULT_URI = "sqlite:///mlflow.db"
"""MLflow's own default, so that a plain `mlflow ui` in the same folder finds the runs."""

DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Requirements are stated by us; checking them would ask a package index.
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
}
"""Settings where the environment has none. A tracker that is away is noticed within seconds:
MLflow's own retries block for four minutes."""


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or a SQLite file in the working directory.

    Raises:
        TrackingError: inside a Ray job without the variable: the job's folder is deleted with it.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri and os.environ.get("RAY_JOB_ID"):
        raise TrackingError(
            "MLFLOW_TRACKING_URI is not set: this is a Ray job, and a database in its working "
            "directory would be deleted with it. Set it on the nodes, or with --runtime-env-json."
        )
    return uri or DEFAULT_URI


def quiet_defaults() -> None:
    """Apply `DEFAULTS`, and keep MLflow's own lines out of ours."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow").setLevel(logging.WARNING)


def connect(uri: str = "") -> str:
    """Make MLflow's functions talk to `uri`, else `tracking_uri()`, and return it; nothing is sent.

    Raises:
        TrackingError: `MLFLOW_TRACKING_URI` must be set here.
    """
    quiet_defaults()
    uri = uri or tracking_uri()
    mlflow.set_tracking_uri(uri)
    return uri


def prepare_database() -> None:
    """Make the tables of a new SQLite database, which takes seconds; what fails will fail later."""
    with contextlib.suppress(TrackingError):
        connect()
        if tracking_uri().startswith("sqlite"):
            with errors(tracking_uri()):
                MlflowClient().search_experiments(max_results=1)


def share() -> None:
    """Let processes that are started from here, in other folders, find the same MLflow.

    Raises:
        TrackingError: `MLFLOW_TRACKING_URI` must be set here.
    """
    uri, local = tracking_uri(), "sqlite:///"
    if uri.startswith(local):
        uri = local + str(Path(uri.removeprefix(local)).absolute())
    os.environ["MLFLOW_TRACKING_URI"] = uri


NOT_THERE = "RESOURCE_DOES_NOT_EXIST: "
"""How a server's message begins."""


def translated(error: Exception, uri: str) -> TrackingError:
    """What requests, SQLAlchemy or MLflow raised, in one line."""
    if isinstance(error, TrackingError):
        return error
    advice = "Check that it runs, and MLFLOW_TRACKING_URI."
    if _is_away(error, uri):
        reason = type(error.__context__ or error).__name__
        return TrackingUnavailableError(
            f"MLflow at {shown(uri)}: does not answer ({reason}). {advice}"
        )
    reason = first_line(error)[:200].rstrip(".")
    if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
        return TrackingError(f"MLflow at {shown(uri)}: {reason.removeprefix(NOT_THERE)}.")
    return TrackingError(f"MLflow at {shown(uri)}: refuses: {reason}. {advice}")


@contextmanager
def errors(uri: str) -> Iterator[None]:
    """What requests, SQLAlchemy and MLflow raise inside, as a `TrackingError`."""
    try:
        yield
    except Exception as error:
        raise translated(error, uri) from error


def _is_away(error: Exception, uri: str) -> bool:
    """Whether a server does not answer, or answers that it cannot now."""
    if not uri.startswith("http"):
        return False
    if isinstance(error.__context__, RequestException):
        return True
    if not isinstance(error, MlflowException):
        return False
    return bool(error.get_http_status_code() >= 500)  # type: ignore[no-untyped-call]


def shown(uri: str) -> str:
    """The tracker's address without a password."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rsplit('@', 1)[-1]}"
