"""A run's session: takes its lease, keeps its record and MLflow run, records how it ended."""

import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from alexnet.adapters.mlflow_tracking import TrackedRun
from alexnet.adapters.object_store import open_store
from alexnet.errors import AlexNetError, LeaseError, StoreError
from alexnet.runs import run_record
from alexnet.runs.checkpoint_store import Checkpoints
from alexnet.runs.lost_work import LostWorkAccount
from alexnet.runs.run_record import LostWork, RunRecord, Status
from alexnet.storage.lease import Lease
from alexnet.telemetry import event_journal
from alexnet.telemetry.cost import Spending
from alexnet.telemetry.events import Event
from pipelines.steps.run_inputs import Inputs


class Session:
    """A run that this process works on."""

    def __init__(
        self, inputs: Inputs, lease: Lease, account: LostWorkAccount, say: Callable[[str], None]
    ) -> None:
        self.inputs, self.lease, self._account, self._say = inputs, lease, account, say
        self.spending = Spending(inputs.config.price, inputs.record.usage)
        self.store = open_store(inputs.run_url, inputs.config.cluster.store_timeout_s)
        """The run's folder."""
        self.checkpoints = Checkpoints(
            open_store(inputs.run_url), inputs.config.cluster.checkpoints_kept, lease.token
        )
        self.record = dataclasses.replace(inputs.record, status="RUNNING")
        self.tracked = TrackedRun(self.record, say)

    def begin(self) -> None:
        """Write that the run is under way, here and in MLflow.

        Raises:
            StoreError: the record cannot be written.
            TrackingError: MLflow refuses.
        """
        self.record.write(self.store)
        self.tracked.start()
        if self.inputs.continued:
            self.tracked.replay(event_journal.read(self.store))

    def watch(self, event: Event) -> None:
        """Take an event of the training into account."""
        lost = self._account.see(event)
        self.lease.step = self._account.reached
        if lost:
            self._lose(lost._replace(cost=self.spending.lose(event, lost.seconds)))
        self.spending.see(event)
        if event.kind != "failed":
            self.tracked.log(self.spending.priced(event))

    def _lose(self, lost: LostWork) -> None:
        self._say(f"lost: {lost}{self.spending.money(lost.cost, ', ')}")
        self.record = dataclasses.replace(self.record, lost=(*self.record.lost, lost))
        with suppress(StoreError):  # the end of the run writes it again
            self.record.write(self.store)

    def catch_up(self, stop: threading.Event) -> None:
        """Wait until MLflow has every metric of the run.

        Raises:
            StoreError: the journal cannot be read.
            TrackingError: MLflow does not answer, or refuses.
        """
        timeout_s = self.inputs.config.registry.timeout_s
        self.tracked.catch_up(event_journal.read(self.store), timeout_s, stop)

    def finish(self) -> None:
        """Write that the run is complete, when MLflow has it.

        Raises:
            LeaseError: another process has taken the run over.
            StoreError: the record cannot be written.
            TrackingError: MLflow does not answer, or refuses; the run is not finished then.
        """
        self.lease.check()
        record = self._ended("FINISHED")
        self.tracked.finish(record)
        record.write(self.store)

    def stop(self, status: Status, why: str = "") -> None:
        """Write that the run ends before it is complete; a tracker that is away gets it later.

        Raises:
            LeaseError: another process has taken the run over.
            StoreError: the record cannot be written.
        """
        self.lease.check()
        record = self._ended(status, why)
        record.write(self.store)
        self.tracked.abandon(record)
        event_journal.write(self.store, self.tracked.undelivered)

    def _ended(self, status: Status, why: str = "") -> RunRecord:
        return self.record.ended(status, why, self._account.reached, self.spending)


@contextmanager
def opened_session(
    inputs: Inputs,
    on_loss: Callable[[], object],
    say: Callable[[str], None],
    instead: str = ", or start another run with --fresh",
) -> Iterator[Session]:
    """The session on a run that no other process works on.

    An error inside ends the run as FAILED, an interruption as KILLED.

    Args:
        inputs: of the run.
        on_loss: called from another thread if another process takes the run over.
        say: takes a line for people.
        instead: of waiting for another process's end, what the user can do.

    Raises:
        LeaseError: another process works on the run.
        StoreError: the run's folder cannot be reached.
        TrackingError: MLflow refuses.
    """
    lease = Lease(open_store(inputs.run_url), on_loss)
    with lease.held(f"run {inputs.record.name}", instead) as killed:
        record = run_record.again(inputs.record, lease.store, continued=inputs.continued)
        inputs = dataclasses.replace(inputs, record=record)
        account = LostWorkAccount.going_on(record, killed)
        lease.step = account.reached
        session = Session(inputs, lease, account, say)
        if killed or (inputs.continued and record.ended_ms is None):
            session.spending.replay(event_journal.read(lease.store))
        try:
            session.begin()
            yield session
        except LeaseError:
            raise  # its record and its MLflow run are another process's
        except BaseException as error:
            _end_session(session, error, say)
            raise


def _end_session(session: Session, error: BaseException, say: Callable[[str], None]) -> None:
    """End the run for an error, which matters more than what goes wrong in telling of it."""
    status: Status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
    try:
        session.stop(status, str(error) or type(error).__name__)
    except AlexNetError as second:
        say(str(second))
