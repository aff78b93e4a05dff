"""How all workers do the same at the same step: rank 0 decides, others follow a step later."""

import time
from enum import IntFlag
from typing import Literal

from alexnet.runs.checkpoint_saver import Saver
from alexnet.training.worker import Worker

POLL_S = 5.0
"""How often workers poll whether their nodes are to be taken away, and how busy these are. A spot
node is announced 30 s or more ahead."""

End = Literal["done", "stopped", "preempted"]
"""Why a training returned: it is complete, somebody asked, or a node is taken away."""


class Control(IntFlag):
    """What all workers are to do after a step."""

    NONE = 0
    SAVE = 1
    POLL = 2
    STOP = 4


class Coordinator:
    """Decides on rank 0, because clocks and messages differ between workers."""

    def __init__(self, worker: Worker, saver: Saver, checkpoint_every_s: float) -> None:
        self._worker, self._saver, self._every_s = worker, saver, checkpoint_every_s
        self._saved_at = self._polled_at = time.monotonic()

    def next(self) -> Control:
        """What rank 0 decided at the step before; every worker takes part."""
        return Control(self._worker.relay(self._decide()))

    def saved(self) -> None:
        """A checkpoint is being written, so the next one is due that much later."""
        self._saved_at = time.monotonic()

    def _decide(self) -> Control:
        if self._worker.rank != 0:
            return Control.NONE
        self._saver.check()
        now, control = time.monotonic(), Control.NONE
        if now - self._saved_at >= self._every_s and not self._saver.busy:
            self._saved_at = now
            control |= Control.SAVE
        if now - self._polled_at >= POLL_S:
            self._polled_at = now
            control |= Control.POLL
        if self._worker.stop_requested():
            control |= Control.STOP
        return control
