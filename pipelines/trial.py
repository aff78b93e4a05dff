"""One trial of a search: a training that tells its epochs, and registers nothing."""

import dataclasses
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from alexnet import journal, run_record
from alexnet.adapters import console
from alexnet.adapters.object_store import open_store
from alexnet.adapters.ray_cluster import Resources
from alexnet.config import RunConfig
from alexnet.errors import AlexNetError, DivergedError
from alexnet.progress import Event
from alexnet.trials import Ended, Epoch
from pipelines import launch, open_session, training
from pipelines.metering import Metering
from pipelines.stop_request import StopRequest


@dataclass(frozen=True, slots=True)
class Task:
    """What a trial needs to know."""

    config: RunConfig
    """With the trial's values, on the search's manifest, and with a name of its own."""
    nested_in: str
    """MLflow's id of the search."""
    resources: Resources
    ended: Ended | None = None
    """What came of it before; it then only tells its epochs again."""


class Trial:
    """A trial at work in a thread of this process."""

    def __init__(self, task: Task) -> None:
        """Begin."""
        self._task = task
        self._said: queue.SimpleQueue[Epoch | Ended | Exception] = queue.SimpleQueue()
        self._console = console.opened()
        self._stop = StopRequest(self._console.say)
        self._last: Epoch | None = None
        self._thread = threading.Thread(target=self._work, name="trial", daemon=True)
        self._thread.start()

    def next(self, patience_s: float) -> Epoch | Ended | None:
        """What it says next; None if that takes longer."""
        try:
            said = self._said.get(timeout=patience_s)
        except queue.Empty:
            return None
        if isinstance(said, Exception):
            raise said
        return said

    def stop(self) -> None:
        """End it if it has not ended, with a checkpoint."""
        if self._thread.is_alive():
            self._stop.ask("the search")
        self._thread.join()

    def _work(self) -> None:
        try:
            self._said.put(self._train())
        except DivergedError as error:
            self._said.put(Ended("diverged", str(error)))
        except AlexNetError as error:
            self._said.put(Ended("failed", str(error)))
        except Exception as error:  # a bug, which keeps its traceback
            self._said.put(error)

    def _train(self) -> Ended:
        config, say = self._task.config, self._console.say
        run = open_store(f"{config.cluster.storage_url}/{config.run.name}")
        for event in journal.read(run):  # of when it was at work before
            self._watch(event)
        if run.exists(run_record.NAME) and run_record.read(run).status == "FINISHED":
            return Ended("finished", last=self._last)
        if self._task.ended:
            return self._task.ended
        inputs = launch.prepare(config)
        record = dataclasses.replace(inputs.record, nested_in=self._task.nested_in)
        inputs = dataclasses.replace(inputs, record=record)
        with open_session.opened(inputs, self._stop.event.set, say) as current:
            metering = Metering(current, self._task.resources)
            watchers = (self._console.show, current.watch, metering.watch, self._watch)
            if training.fit(current, self._task.resources, self._stop, watchers) != "done":
                current.stop("KILLED")
                return Ended("")  # whoever has stopped it knows why
            current.catch_up(self._stop.event)
            current.finish()
            metering.look_again()
        return Ended("finished", last=self._last)

    def _watch(self, event: Event) -> None:
        """Tell an epoch; the last one with the end, before which nobody may stop the trial."""
        if event.kind != "evaluated":
            return
        epoch = Epoch(round(event.epoch), event.metrics["val/top1"], event.metrics["val/loss"])
        if event.step == event.steps:
            self._last = epoch
        else:
            self._said.put(epoch)


def begin(tasks: Sequence[Task], number: int) -> Trial:
    """Begin the trial with a number."""
    return Trial(tasks[number])
