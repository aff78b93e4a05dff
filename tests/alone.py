"""A whole run in this process: the session, the training and the registration, without a cluster.

The same as `pipelines/train.py` but for Ray: one worker, so that results can be compared bit by
bit.
"""

from dataclasses import dataclass
from typing import Any

from alexnet.training.loop import Trainer
from pipelines.steps import run_inputs, run_session, training
from pipelines.steps.stop_request import StopRequest
from tests.local_worker import LocalWorker


@dataclass
class Told(LocalWorker):
    """A worker whose events a session hears, and that can be asked to stop after so many steps."""

    watch: Any = None
    steps_left: int = 0

    def publish(self, event):
        super().publish(event)
        self.watch(event)

    def stop_requested(self):
        self.steps_left -= 1
        return self.steps_left == 0


@dataclass(frozen=True)
class Ended:
    """What came of a run."""

    inputs: Any
    """Of the run; says whether it was begun before."""
    network: Any
    events: list
    """That were published."""
    version: Any
    """Registered; None if the run was stopped."""


def train(config, stop_after=0, say=print):
    """Begin a run or go on with it, and register what comes of it, unless it is stopped."""
    inputs, stop = run_inputs.prepare(config), StopRequest(say)
    with run_session.opened_session(inputs, stop.event.set, say) as current:
        worker = Told(watch=current.watch, steps_left=stop_after)
        trainer = Trainer(inputs.config, inputs.manifest, inputs.store, worker, current.checkpoints)
        version = None
        if trainer.run() == "done":
            version = training.register(current, stop, say).version
        else:
            current.stop("KILLED")
    return Ended(inputs, trainer.network, worker.events, version)
