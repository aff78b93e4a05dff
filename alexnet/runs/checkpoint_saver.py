"""Writes checkpoints in a background thread, and retries while the store is away."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from alexnet.errors import StoreUnavailableError
from alexnet.runs import checkpoint
from alexnet.runs.checkpoint import CheckpointMeta, CheckpointState
from alexnet.runs.checkpoint_store import Checkpoints, Warn
from alexnet.storage import scratch
from alexnet.telemetry.events import Event

RETRY_S = 2.0
"""Between attempts to reach a store that does not answer."""

T = TypeVar("T")


class Saver:
    """Writes checkpoints one after another, in a background thread."""

    def __init__(self, checkpoints: Checkpoints, timeout_s: float, warn: Warn) -> None:
        """Start nothing yet.

        Args:
            checkpoints: where they go.
            timeout_s: how long a store that does not answer is waited for.
            warn: called from another thread when the store stops answering, and answers again.
        """
        self._checkpoints, self._timeout_s, self._warn = checkpoints, timeout_s, warn
        scratch.sweep()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._under_way: Future[None] | None = None
        self._events: list[Event] = []

    @property
    def busy(self) -> bool:
        """Whether the last checkpoint is still on its way."""
        return self._under_way is not None and not self._under_way.done()

    def note(self, event: Event) -> None:
        """Keep an event; it is written with the next checkpoint."""
        self._events.append(event)

    def save(self, meta: CheckpointMeta, state: CheckpointState) -> None:
        """Copy the state and begin to write it, when the one before is written.

        Raises:
            CheckpointError, StoreError: the one before could not be written.
        """
        self.settle()
        events, self._events = self._events, []
        copied = checkpoint.snapshot(state)
        self._under_way = self._thread.submit(self._write, meta, copied, events)

    def settle(self) -> None:
        """Wait for the checkpoint under way.

        Raises:
            CheckpointError, StoreError: it could not be written.
        """
        under_way, self._under_way = self._under_way, None
        if under_way:
            under_way.result()

    def check(self) -> None:
        """Raise what the last checkpoint met with, if it is no longer under way."""
        if not self.busy:
            self.settle()

    def _write(self, meta: CheckpointMeta, state: CheckpointState, events: list[Event]) -> None:
        with scratch.folder() as made:
            checkpoint.write(made, meta, state)
            retried(
                lambda: self._checkpoints.upload(made, meta.step, events),
                self._timeout_s,
                self._warn,
            )


def retried(work: Callable[[], T], timeout_s: float, warn: Warn) -> T:
    """What `work` returns, tried again while the store does not answer.

    Args:
        work: may be repeated.
        timeout_s: after which its error is raised.
        warn: called with a line when the store does not answer, and when it does again.

    Raises:
        StoreError, CheckpointError: what `work` raised.
    """
    deadline = time.monotonic() + timeout_s
    waiting = False
    while True:
        try:
            done = work()
        except StoreUnavailableError as error:
            if time.monotonic() > deadline:
                raise
            if not waiting:
                warn(f"{error} It is tried again for cluster.store_timeout_s = {timeout_s:g}.")
            waiting = True
            time.sleep(RETRY_S)
            continue
        if waiting:
            warn("The store of checkpoints answers again.")
        return done
