"""Delivers events from the workers' mailbox to listeners, and warns when no worker starts."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray

from alexnet.adapters.ray_cluster import Resources
from alexnet.telemetry.events import Event

POLL_S = 0.25
"""How often the driver asks for new events."""

PATIENCE_S = 60.0
"""Workers that have not started for so long are spoken of, and again each time it has passed."""

logger = logging.getLogger(__name__)

Watch = Callable[[Event], None]
"""Takes an event of the training."""


@contextmanager
def delivered(mailbox: Any, listeners: tuple[Watch, ...], resources: Resources) -> Iterator[None]:
    """Call the listeners, in order, for each event in a `Mailbox`, from a thread."""
    done = threading.Event()
    silence = _Silence(resources)

    def deliver() -> None:
        last = False
        while not last:
            last = done.wait(POLL_S)
            try:
                events = ray.get(mailbox.take.remote())
                for event in [*events, *silence.after(events)]:
                    _call(listeners, event)
            except ray.exceptions.RayError:
                return  # this node's Ray is gone: the one who waits for the training gets the error

    thread = threading.Thread(target=deliver, name="events", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _call(listeners: tuple[Watch, ...], event: Event) -> None:
    for watch in listeners:
        try:
            watch(event)
        except Exception:  # one that fails must not keep the others from what follows
            logger.exception("%s", event)


@dataclass
class _Silence:
    """Since when no worker trains."""

    resources: Resources
    since: float | None = field(default_factory=time.monotonic)
    """Monotonic time; None while they train."""

    def after(self, events: list[Event]) -> list[Event]:
        """What is to be said when these events have come."""
        now = time.monotonic()
        for event in events:
            self.since = now if event.kind == "failed" else None
        if self.since is None or now - self.since < PATIENCE_S:
            return []
        self.since = now
        free = ray.available_resources()  # type: ignore[no-untyped-call]
        kind = "GPU" if self.resources.use_gpu else "CPU"
        text = (
            f"waiting for {self.resources.min_workers} workers; the cluster has "
            f"{free.get(kind, 0):g} {kind}s free. Other jobs, or nodes that start, are waited "
            "for without end; `ray status` shows them."
        )
        return [Event(kind="notice", step=0, steps=0, epoch=0.0, text=text)]
