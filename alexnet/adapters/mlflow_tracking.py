"""One MLflow run per training: parameters, metrics by global step, and how it ended."""

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Literal

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.tracking import MlflowClient
from requests.exceptions import RequestException

from alexnet import config as configuration
from alexnet.config import RunConfig
from alexnet.errors import TrackingError
from alexnet.ledger import Ledger
from alexnet.manifest import MANIFEST_NAME, Manifest
from alexnet.progress import Event

DEFAULT_URI = "sqlite:///mlflow.db"
"""MLflow's own default, so that a plain `mlflow ui` in the same folder finds the runs."""


CALM = {
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


class TrackedRun:
    """An open MLflow run."""

    def __init__(
        self, client: MlflowClient, run_id: str, uri: str, say: Callable[[str], None]
    ) -> None:
        self.client, self.run_id, self.uri, self._say = client, run_id, uri, say
        self._unsent: list[Metric] = []
        self._unsent_ledgers: list[Ledger] = []
        self._away = False

    @classmethod
    def start(
        cls,
        config: RunConfig,
        manifest: Manifest,
        data_url: str,
        run_name: str,
        git_commit: str,
        say: Callable[[str], None],
    ) -> "TrackedRun":
        """Create the run, with everything that is known before training.

        Args:
            config: the run.
            manifest: of the data set at `data_url`.
            data_url: its folder.
            run_name: how MLflow lists it.
            git_commit: of the code.
            say: called with a line when the tracker goes away during the run, and comes back.

        Raises:
            TrackingError: the tracker does not answer or refuses.
        """
        uri = tracking_uri()
        for name, value in CALM.items():
            os.environ.setdefault(name, value)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        try:
            mlflow.set_tracking_uri(uri)
            client = MlflowClient(uri)
            experiment = mlflow.set_experiment(config.registry.experiment)
            tags = {
                "mlflow.runName": run_name,
                "mlflow.source.git.commit": git_commit,
                "manifest_digest": manifest.digest,
                "config_digest": config.digest(),
            }
            run = client.create_run(experiment.experiment_id, run_name=run_name, tags=tags)
            run_id: str = run.info.run_id
            params = [Param(k, str(v)) for k, v in configuration.flat(config).items()]
            client.log_batch(run_id, params=params)
            client.log_text(run_id, configuration.to_toml(config), "config.toml")
            _log_dataset(client, run_id, manifest, data_url)
        except Exception as error:  # requests, SQLAlchemy and MLflow raise their own
            raise _mended(error, uri) from error
        return cls(client, run_id, uri, say)

    def log(self, event: Event) -> None:
        """Send an event's metrics; what cannot be sent now is sent with a later one."""
        now_ms = int(time.time() * 1000)
        self._unsent += [Metric(k, v, now_ms, event.step) for k, v in event.metrics.items()]
        if event.ledger and event.ledger.skipped:
            self._unsent_ledgers.append(event.ledger)
        try:
            self._send()
        except Exception as error:  # a tracker that is away must not stop training
            if not self._away:
                self._say(f"{_mended(error, self.uri)} Training goes on; metrics are sent later.")
            self._away = True

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """Close the run with its true status.

        Raises:
            TrackingError: the tracker does not answer; the run stays open in it.
        """
        try:
            self._send()
            self.client.set_terminated(self.run_id, status)
        except Exception as error:
            raise _mended(error, self.uri) from error

    def abandon(self, status: Literal["FAILED", "KILLED"]) -> None:
        """Close the run after an error, whose message matters more than a tracker that is away."""
        with contextlib.suppress(TrackingError):
            self.finish(status)

    @property
    def shown_uri(self) -> str:
        """The tracker's address without a password."""
        return _shown(self.uri)

    def _send(self) -> None:
        while self._unsent:
            self.client.log_batch(self.run_id, metrics=self._unsent[:1000])  # MLflow's limit
            del self._unsent[:1000]
        while self._unsent_ledgers:
            ledger = self._unsent_ledgers[0]
            self.client.log_dict(self.run_id, asdict(ledger), f"data/epoch-{ledger.epoch:04d}.json")
            del self._unsent_ledgers[0]
        if self._away:
            self._say(f"MLflow at {self.shown_uri}: answers again; no metric is lost.")
        self._away = False


def _log_dataset(client: MlflowClient, run_id: str, manifest: Manifest, data_url: str) -> None:
    dataset = Dataset(
        name=manifest.name,
        digest=manifest.digest[:36],  # MLflow's limit; the whole one is a tag of the run
        source_type="s3" if data_url.startswith("s3://") else "local",
        source=json.dumps({"uri": f"{data_url}/{MANIFEST_NAME}"}),
    )
    tag = InputTag("mlflow.data.context", "training")
    client.log_inputs(run_id, datasets=[DatasetInput(dataset, [tag])])


def _mended(error: Exception, uri: str) -> TrackingError:
    if isinstance(error, TrackingError):
        return error
    if isinstance(error.__context__, RequestException):
        reason = f"does not answer ({type(error.__context__).__name__})"
    else:
        reason = f"refuses: {next(iter(str(error).strip().splitlines()), repr(error))[:200]}"
    return TrackingError(
        f"MLflow at {_shown(uri)}: {reason}. Check that it runs, and MLFLOW_TRACKING_URI."
    )


def _shown(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rsplit('@', 1)[-1]}"
