"""A run while a command works on it: its lease, its record, MLflow, and what failures cost."""

import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from alexnet import journal, run_record
from alexnet.adapters.mlflow_tracking import TrackedRun
from alexnet.adapters.object_store import open_store
from alexnet.checkpoint_store import Checkpoints
from alexnet.errors import LeaseError, StoreError
from alexnet.lease import Lease
from alexnet.lost_work import LostWorkAccount
from alexnet.progress import Event
from alexnet.run_record import Status
from pipelines.launch import Inputs
from pipelines.stop_request import StopRequest


class Session:
    """A run that this process works on."""

    def __init__(
        self, inputs: Inputs, lease: Lease, account: LostWorkAccount, say: Callable[[str], None]
    ) -> None:
        self.inputs, self.lease, self._account, self._say = inputs, lease, account, say
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
        for event in journal.read(self.store) if self.inputs.continued else ():
            self.tracked.log(event)

    def watch(self, event: Event) -> None:
        """Take an event of the training into account."""
        if event.kind == "failed":
            self._account.reason = event.text
            return
        lost = self._account.see(event)
        self.lease.step = self._account.reached
        if lost:
            self._say(
                f"lost: {lost.reason}: resumed at step {lost.resumed_at}, {lost.steps_redone} "
                f"steps to do again, {lost.seconds:.1f} s lost"
            )
            self.record = dataclasses.replace(self.record, lost=(*self.record.lost, lost))
            with suppress(StoreError):  # the end of the run writes it again
                self.record.write(self.store)
        self.tracked.log(event)

    def catch_up(self, stop: threading.Event) -> None:
        """Wait until MLflow has every metric of the run.

        Raises:
            StoreError: the journal cannot be read.
            TrackingError: MLflow does not answer, or refuses.
        """
        timeout_s = self.inputs.config.registry.timeout_s
        self.tracked.catch_up(journal.read(self.store), timeout_s, stop)

    def close(self, status: Status) -> None:
        """Write how it ended, here and in MLflow; a tracker that is away gets it later.

        Raises:
            StoreError: the record cannot be written.
            TrackingError: FINISHED cannot be told.
        """
        self.record = dataclasses.replace(self.record, status=status)
        if status == "FINISHED":
            self.tracked.finish(self.record)
        else:
            self.tracked.abandon(self.record)
            journal.write(self.store, self.tracked.undelivered)
        self.record.write(self.store)


@contextmanager
def opened(inputs: Inputs, stop: StopRequest, say: Callable[[str], None]) -> Iterator[Session]:
    """The session on a run that no other process works on.

    Raises:
        LeaseError: another process does.
        StoreError: the run's folder cannot be reached.
        TrackingError: MLflow refuses.
    """
    store = open_store(inputs.run_url)
    lease = Lease(store, stop.lose_lease)
    before = lease.take(f"run {inputs.record.name}")
    try:
        if inputs.continued and run_record.read(store).status == "FINISHED":
            raise LeaseError(f"run {inputs.record.name}: another process has just finished it.")
        session = Session(inputs, lease, LostWorkAccount.after(before), say)
        session.begin()
        yield session
    finally:
        lease.release()
