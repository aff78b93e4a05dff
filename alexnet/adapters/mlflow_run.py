"""What MLflow holds of a training: parameters, metrics by global step, and how it ended.

A metric that MLflow has at a step is not sent for that step again: what was redone after a failure
appears once.
"""

import json
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from alexnet import config as configuration
from alexnet import config_file
from alexnet.adapters.mlflow_connection import connect, errors, tracking_uri
from alexnet.dataset.manifest import MANIFEST_NAME
from alexnet.registry.lineage import RUN_KEY
from alexnet.runs.run_record import RunRecord
from alexnet.telemetry.events import Event

AT_ONCE = 1000
"""Metrics in a request; MLflow's limit."""

SAME_MOMENT = 3
"""How often what collides with another run's is tried again."""


class MlflowRun:
    """The MLflow run of a training; every method raises a `TrackingError` if MLflow refuses."""

    def __init__(self, record: RunRecord) -> None:
        """Contact nothing yet.

        Raises:
            TrackingError: `MLFLOW_TRACKING_URI` must be set here.
        """
        self.record, self.uri = record, tracking_uri()
        self.run_id = ""
        """Empty until MLflow has answered for the first time."""
        self._client: Any = None
        self._delivered: dict[str, set[int]] | None = None
        """Steps by metric; None until MLflow was asked."""

    def open(self) -> None:
        """Find the run or create it, if that was not done before."""
        with errors(self.uri):
            self._open()

    def send(self, events: Iterable[Event]) -> None:
        """Deliver what MLflow does not have yet of these events' metrics and ledgers."""
        with errors(self.uri):
            self._open()
            if self._delivered is None:
                self._delivered = _delivered(self._client, self.run_id)
            self._send(list(events), self._delivered)

    def close(self, record: RunRecord) -> None:
        """Write the record's status, what it has cost, and what failures have."""
        with errors(self.uri):
            self._open()
            if record.lost:
                _log_lost_work(self._client, self.run_id, record)
            if record.currency:
                for key, value in (("cost", f"{record.cost:.6g}"), ("currency", record.currency)):
                    self._client.set_tag(self.run_id, key, value)
            self._client.set_terminated(self.run_id, record.status)

    def _send(self, events: list[Event], delivered: dict[str, set[int]]) -> None:
        new: dict[tuple[str, int], Metric] = {}  # the first value at a step, if MLflow has none
        for event in events:
            for key, value in event.metrics.items():
                if event.step not in delivered[key]:
                    new.setdefault((key, event.step), Metric(key, value, event.time_ms, event.step))
        metrics = list(new.values())
        for begin in range(0, len(metrics), AT_ONCE):
            self._client.log_batch(self.run_id, metrics=metrics[begin : begin + AT_ONCE])
        for ledger in (event.ledger for event in events):
            if ledger and ledger.skipped:
                name = f"data/epoch-{ledger.epoch:04d}.json"
                self._client.log_dict(self.run_id, asdict(ledger), name)
        for key, step in new:
            delivered[key].add(step)

    def _open(self) -> None:
        if self.run_id:
            return
        connect(self.uri)
        self._client = MlflowClient(self.uri)
        config = config_file.parse(tomllib.loads(self.record.config))
        experiment = mlflow.set_experiment(config.registry.experiment).experiment_id
        found = self._client.search_runs([experiment], f"tags.{RUN_KEY} = '{self.record.key}'")
        run = found[0] if found else self._create(experiment, config.digest())
        params = {key: str(value) for key, value in configuration.flat(config).items()}
        missing = [Param(key, v) for key, v in params.items() if key not in run.data.params]
        if missing:  # new, or cut off while it was made: parameters come last
            self._client.log_text(run.info.run_id, self.record.config, "config.toml")
            _log_dataset(self._client, run.info.run_id, self.record)
            self._client.log_batch(run.info.run_id, params=missing)
        if run.info.status != "RUNNING":
            self._client.update_run(run.info.run_id, status="RUNNING")
        self.run_id = run.info.run_id

    def _create(self, experiment: str, config_digest: str) -> Any:
        tags = {
            RUN_KEY: self.record.key,
            "mlflow.runName": self.record.name,
            "mlflow.source.git.commit": self.record.git_commit,
            "manifest_digest": self.record.manifest_digest,
            "config_digest": config_digest,
            **({"mlflow.parentRunId": self.record.nested_in} if self.record.nested_in else {}),
        }
        return self._client.create_run(experiment, run_name=self.record.name, tags=tags)


def _delivered(client: Any, run_id: str) -> dict[str, set[int]]:
    """The steps at which MLflow has a value, by metric."""
    found: dict[str, set[int]] = defaultdict(set)
    for key in client.get_run(run_id).data.metrics:
        found[key] = {point.step for point in client.get_metric_history(run_id, key)}
    return found


def _log_lost_work(client: Any, run_id: str, record: RunRecord) -> None:
    client.log_dict(run_id, [lost._asdict() for lost in record.lost], "lost_work.json")
    sums = {
        "failures": len(record.lost),
        "steps_redone": sum(lost.steps_redone for lost in record.lost),
        "seconds_lost": round(sum(lost.seconds for lost in record.lost), 1),
        **({"cost_lost": sum(lost.cost for lost in record.lost)} if record.currency else {}),
    }
    for key, value in sums.items():
        client.set_tag(run_id, key, str(value))


def _log_dataset(client: Any, run_id: str, record: RunRecord) -> None:
    dataset = Dataset(
        name=record.data_name,
        digest=record.manifest_digest[:36],  # MLflow's limit; the whole one is a tag of the run
        source_type="s3" if record.data_url.startswith("s3://") else "local",
        source=json.dumps({"uri": f"{record.data_url}/{MANIFEST_NAME}"}),
    )
    inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
    for attempt in range(SAME_MOMENT + 1):
        try:
            client.log_inputs(run_id, datasets=inputs)
        except MlflowException as error:
            # Another run has entered the same data in this moment; MLflow looks and then writes.
            if "constraint" not in str(error) or attempt == SAME_MOMENT:
                raise
        else:
            return
