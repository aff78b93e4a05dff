"""Delivers a training's events to its MLflow run while it trains.

A thread does it. An event that cannot be delivered waits; after a restart the journal of the run
has it.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

from alexnet.adapters.mlflow_connection import shown
from alexnet.adapters.mlflow_run import MlflowRun
from alexnet.errors import TrackingError, TrackingUnavailableError
from alexnet.runs.run_record import RunRecord
from alexnet.telemetry.events import Event

RETRY_S = 2.0
"""Between attempts to reach a tracker that is away."""

EVENTS_AT_ONCE = 100
"""Events that are sent together, when several wait: a request takes as long for one."""


class TrackedRun:
    """The MLflow run of a training."""

    def __init__(self, record: RunRecord, say: Callable[[str], None]) -> None:
        """Contact nothing yet; `say` gets a line when the tracker goes away, and when it is back.

        Raises:
            TrackingError: `MLFLOW_TRACKING_URI` must be set here.
        """
        self.record, self._run, self._say = record, MlflowRun(record), say
        self._backlog: deque[Event] = deque()
        """From the journal, which keeps them."""
        self._waiting: deque[Event] = deque()
        self._away = False
        self._woken, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._deliver, name="tracking", daemon=True)

    def start(self) -> None:
        """Find the run or create it, and deliver from now on.

        A tracker that does not answer is waited for while training runs.

        Raises:
            TrackingError: the tracker refuses.
        """
        try:
            self._run.open()
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
        self._run.close(record)

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
        return shown(self._run.uri)

    @property
    def run_id(self) -> str:
        """MLflow's; empty until it has answered for the first time."""
        return self._run.run_id

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
        self._run.open()
        for queue in (self._backlog, self._waiting):
            while queue:
                events = list(islice(queue, EVENTS_AT_ONCE))
                self._run.send(events)
                for _ in events:
                    queue.popleft()
        if self._away:
            self._say(f"MLflow at {self.shown_uri}: answers again; no metric is lost.")
        self._away = False

    def _went_away(self, error: TrackingError) -> None:
        if not self._away:
            self._say(f"{error} Metrics are kept, and delivered when it does.")
        self._away = True
