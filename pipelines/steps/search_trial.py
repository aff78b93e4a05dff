"""One trial of a search: a training that reports its epochs, and registers nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from alexnet.adapters import console
from alexnet.adapters.object_store import open_store
from alexnet.adapters.ray_cluster import Resources
from alexnet.background import Talking
from alexnet.config import RunConfig
from alexnet.errors import AlexNetError, DivergedError
from alexnet.runs import run_record
from alexnet.search.record import Ended, Epoch, Outcome
from alexnet.storage import folders
from alexnet.storage.store import Store
from alexnet.telemetry import event_journal
from alexnet.telemetry.events import Event
from pipelines.steps import run_inputs, run_session, training
from pipelines.steps.stop_request import StopRequest


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


class RunningTrial:
    """A trial at work in a thread of this process."""

    def __init__(self, task: Task) -> None:
        """Begin."""
        self._task = task
        self._console = console.opened()
        self._stop = StopRequest(self._console.say)
        self._last: Epoch | None = None
        self._talking: Talking[Epoch | Ended] = Talking("trial", self._work)

    def next(self, patience_s: float) -> Epoch | Ended | None:
        """What it says next; None if that takes longer."""
        return self._talking.next(patience_s)

    def stop(self) -> None:
        """End it if it has not ended, with a checkpoint."""
        self._stop.ask("the search")
        self._talking.join()

    def _work(self, say: Callable[[Epoch | Ended], None]) -> None:
        self._say = say
        try:
            say(self._train())
        except AlexNetError as error:
            outcome: Outcome = "diverged" if isinstance(error, DivergedError) else "failed"
            say(Ended(outcome, str(error)))

    def _train(self) -> Ended:
        config, say = self._task.config, self._console.say
        run = open_store(folders.run(config.cluster.storage_url, config.run.name))
        self._replay(run)
        status = run_record.read(run).status if run.exists(run_record.NAME) else ""
        if status == "FINISHED":
            return Ended("finished", last=self._last)
        if self._task.ended and status != "RUNNING":
            return self._task.ended
        inputs = run_inputs.prepare(config, nested_in=self._task.nested_in)
        with run_session.opened_session(inputs, self._stop.event.set, say, instead="") as current:
            if self._task.ended:  # it was killed while it ended
                current.stop("KILLED")
                return self._task.ended
            resources = self._task.resources
            with training.listening(current, resources, self._console, self._watch) as listen:
                if training.fit(current, resources, self._stop, listen) != "done":
                    current.stop("KILLED")
                    return Ended("")  # the search knows why
                current.catch_up(self._stop.event)
                current.finish()
        if not self._last:  # its report was lost with the actor that passes reports on
            self._replay(run)
        return Ended("finished", last=self._last)

    def _replay(self, run: Store) -> None:
        """Tell the epochs of when it was at work before."""
        for event in event_journal.read(run):
            self._watch(event)

    def _watch(self, event: Event) -> None:
        """Tell an epoch; the last one with the end, before which nobody may stop the trial."""
        if event.kind != "evaluated":
            return
        epoch = Epoch(round(event.epoch), event.metrics["val/top1"], event.metrics["val/loss"])
        if event.step == event.steps:
            self._last = epoch
        else:
            self._say(epoch)


def begin(tasks: list[Task], number: int) -> RunningTrial:
    """Begin the trial with a number."""
    return RunningTrial(tasks[number])
