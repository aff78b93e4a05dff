"""The right to work on a run, and a true word about how it ended, whatever happens."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from alexnet.adapters.object_store import open_store
from alexnet.errors import AlexNetError, LeaseError
from alexnet.runs import run_record
from alexnet.runs.lost_work import LostWorkAccount
from alexnet.runs.run_record import Status
from alexnet.storage.lease import Lease
from alexnet.telemetry import event_journal
from pipelines.steps.run_inputs import Inputs
from pipelines.steps.run_session import Session


@contextmanager
def opened(
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
            _end(session, error, say)
            raise


def _end(session: Session, error: BaseException, say: Callable[[str], None]) -> None:
    """End the run for an error, which matters more than what goes wrong in telling of it."""
    status: Status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
    try:
        session.stop(status, str(error) or type(error).__name__)
    except AlexNetError as second:
        say(str(second))
