"""The MLflow run of a search, in which the runs of its trials are nested."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import mlflow
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from alexnet import clock
from alexnet.adapters.mlflow_connection import connect, errors, shown
from alexnet.registry.lineage import RUN_KEY
from alexnet.runs.run_record import Status
from alexnet.search.record import SearchRecord


class TrackedSearch:
    """A search as MLflow knows it."""

    def __init__(self, record: SearchRecord, experiment: str, params: Mapping[str, Any]) -> None:
        """Find its run or create it.

        Raises:
            TrackingError: MLflow does not answer, or refuses.
        """
        self.uri = connect()
        with errors(self.uri):
            self._client = MlflowClient(self.uri)
            self.run_id = self._found(record, mlflow.set_experiment(experiment).experiment_id)
            logged = [Param(key, str(value)) for key, value in params.items()]
            self._client.log_batch(self.run_id, params=logged)

    def end(
        self,
        status: Status,
        files: Mapping[str, str] = MappingProxyType({}),
        metrics: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Close the run.

        Raises:
            TrackingError: MLflow does not answer, or refuses.
        """
        with errors(self.uri):
            for name, text in files.items():
                self._client.log_text(self.run_id, text, name)
            now_ms = clock.now_ms()
            logged = [Metric(name, value, now_ms, 0) for name, value in metrics.items()]
            self._client.log_batch(self.run_id, metrics=logged)
            self._client.set_terminated(self.run_id, status)

    @property
    def shown_uri(self) -> str:
        """MLflow's address without a password."""
        return shown(self.uri)

    def _found(self, record: SearchRecord, experiment: str) -> str:
        found = self._client.search_runs([experiment], f"tags.{RUN_KEY} = '{record.key}'")
        if found:
            self._client.update_run(found[0].info.run_id, status="RUNNING")
            return str(found[0].info.run_id)
        tags = {
            RUN_KEY: record.key,
            "mlflow.source.git.commit": record.git_commit,
            "manifest_digest": record.manifest_digest,
        }
        return str(self._client.create_run(experiment, run_name=record.name, tags=tags).info.run_id)
