"""One MLflow run per training: parameters, metrics by global step, and how it ended.

Events are delivered by a thread. One that cannot be delivered waits; after a restart the journal of
the run has it. A metric that MLflow has at a step is not sent for that step again: what was redone
after a failure appears once.
"""

import contextlib
import json
import threading
import time
import tomllib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import asdict
from itertools import islice
from typing import Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from alexnet import config as configuration
from alexnet import config_file
from alexnet.adapters.mlflow_connection import errors, quiet_defaults, shown, tracking_uri
from alexnet.dataset.manifest import MANIFEST_NAME
from alexnet.errors import TrackingError, TrackingUnavailableError
from alexnet.registry.lineage import RUN_KEY
from alexnet.runs.run_record import RunRecord
from alexnet.telemetry.events import Event

RETRY_S = 2.0
"""Between attempts to reach a tracker that is away."""

AT_ONCE = 1000
"""Metrics in a request; MLflow's limit."""

SAME_MOMENT = 3
"""How often what collides with another run's is tried again."""

EVENTS_AT_ONCE = 100
"""Events that are sent together, when several wait: a request takes as long for one."""


class TrackedRun:
    """The MLflow run of a training."""

    def __init__(self, record: RunRecord, say: Callable[[str], None]) -> None:
        """Contact nothing yet; `say` gets a line when the tracker goes away, and when it is back.

        Raises:
            TrackingError: `MLFLOW_TRACKING_URI` must be set here.
        """
        self.record, self.uri, self._say = record, tracking_uri(), say
        self.run_id = ""
        """Empty until MLflow has answered for the first time."""
        self._client: Any = None
        self._backlog: deque[Event] = deque()
        """From the journal, which keeps them."""
        self._waiting: deque[Event] = deque()
        self._delivered: dict[str, set[int]] | None = None
        """Steps by metric; None until MLflow was asked."""
        self._away = False
        self._woken, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._deliver, name="tracking", daemon=True)

    def start(self) -> None:
        """Find the run or create it, and deliver from now on.

        A tracker that does not answer is waited for while training runs.

        Raises:
            TrackingError: the tracker refuses.
        """
        quiet_defaults()
        try:
            with errors(self.uri):
                self._open()
        except TrackingUnavailableError as error:
            self._went_away(error)
        self._thread.start()

    def log(self, event: Event) -> None:
        """Deliver an event's metrics as soon as it can be done."""
        self._waiting.append(event)
        self._woken.set()

    def replay(self, events: Iterable[Event]) -> None:
        """Deliver what is missing of the events that the run's journal has."""
        self._backlog.extend(events)
        self._woken.set()

    def catch_up(self, events: Iterable[Event], timeout_s: float, stop: threading.Event) -> None:
        """End the thread, and deliver what waits and what is missing of these events.

        Args:
            events: all of the run, as its journal has them.
            timeout_s: how long a tracker that does not answer is waited for.
            stop: ends the waiting.

        Raises:
            TrackingError: the tracker does not answer, or refuses.
        """
        self._end_thread()
        self._backlog.extend(events)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self._send()
            except TrackingUnavailableError as error:
                self._went_away(error)
                if time.monotonic() > deadline or stop.wait(RETRY_S):
                    raise

    def finish(self, record: RunRecord) -> None:
        """Close the run with the record's status, what it has cost, and what failures have.

        Raises:
            TrackingError: the tracker does not answer; the run stays open in it.
        """
        self._end_thread()
        with errors(self.uri):
            self._open()
            if record.lost:
                _log_lost_work(self._client, self.run_id, record)
            if record.currency:
                for key, value in (("cost", f"{record.cost:.6g}"), ("currency", record.currency)):
                    self._client.set_tag(self.run_id, key, value)
            self._client.set_terminated(self.run_id, record.status)

    def abandon(self, record: RunRecord) -> None:
        """Close the run after an error, whose message matters more than a tracker that is away."""
        self._end_thread()
        with contextlib.suppress(TrackingError):
            self._send()
            self.finish(record)

    @property
    def undelivered(self) -> list[Event]:
        """What was logged, and the tracker does not have yet."""
        return list(self._waiting)

    @property
    def is_away(self) -> bool:
        """Whether the tracker did not take the last metrics."""
        return self._away

    @property
    def backlog(self) -> int:
        """Events that wait to be delivered."""
        return len(self._backlog) + len(self._waiting)

    @property
    def shown_uri(self) -> str:
        """The tracker's address without a password."""
        return shown(self.uri)

    def _deliver(self) -> None:
        while not self._closing.is_set():
            self._woken.wait()
            self._woken.clear()
            try:
                self._send()
            except TrackingUnavailableError as error:  # it must not stop training
                self._went_away(error)
                self._closing.wait(RETRY_S)
                self._woken.set()
            except TrackingError as error:  # the end of the run will meet it again
                self._went_away(error)

    def _end_thread(self) -> None:
        self._closing.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()

    def _send(self) -> None:
        """Deliver what waits."""
        with errors(self.uri):
            self._open()
            if self._delivered is None:
                self._delivered = _delivered(self._client, self.run_id)
            for queue in (self._backlog, self._waiting):
                self._send_all(queue, self._delivered)
        if self._away:
            self._say(f"MLflow at {self.shown_uri}: answers again; no metric is lost.")
        self._away = False

    def _send_all(self, queue: deque[Event], delivered: dict[str, set[int]]) -> None:
        while queue:
            events = list(islice(queue, EVENTS_AT_ONCE))
            self._send_some(events, delivered)
            for _ in events:
                queue.popleft()

    def _send_some(self, events: list[Event], delivered: dict[str, set[int]]) -> None:
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
        """Find the run or create it, if that was not done before."""
        if self.run_id:
            return
        mlflow.set_tracking_uri(self.uri)
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

    def _went_away(self, error: TrackingError) -> None:
        if not self._away:
            self._say(f"{error} Metrics are kept, and delivered when it does.")
        self._away = True


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
