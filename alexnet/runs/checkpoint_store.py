"""The checkpoints of a run in its folder: written, listed, read, and the old ones removed.

    step-00000128/state.pt    first
    step-00000128/meta.json   last, so that a checkpoint with it is complete

A run resumes from the newest that is complete and whole. One that is not is named and left where it
is; the one before it is used.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from alexnet.errors import CheckpointError, StoreError, StoreUnavailableError
from alexnet.runs import checkpoint
from alexnet.runs.checkpoint import META, STATE, CheckpointMeta, CheckpointState
from alexnet.storage import lease, scratch
from alexnet.storage.store import Store
from alexnet.telemetry import event_journal
from alexnet.telemetry.events import Event

Check = Callable[[CheckpointMeta, str], None]
"""Raises if the run must not resume from a checkpoint with this meta, at this place."""

Warn = Callable[[str], None]
"""Takes a line for people."""


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints in the folder of a run."""

    store: Store
    kept: int
    """Newest that `retain` leaves, besides the best."""
    token: str = ""
    """Of the lease on the run, without which nothing is written; empty where there is none.
    Workers may outlive their driver by seconds, and then meet the next one's."""

    def steps(self, *, complete: bool = True) -> list[int]:
        """Steps of the checkpoints, in order; of those that were started too if not `complete`.

        Raises:
            StoreError: the store cannot be reached.
        """
        names = META if complete else f"{META}|{STATE}"
        found = (re.fullmatch(rf"step-(\d+)/({names})", name) for name in self.store.list())
        return sorted({int(match[1]) for match in found if match})

    def meta(self, step: int) -> CheckpointMeta:
        """What a checkpoint says of itself.

        Raises:
            CheckpointError: it was never completed, or is damaged.
            StoreError: the store cannot be reached.
        """
        with self._whole(step):
            name = f"{_folder(step)}/{META}"
            return checkpoint.parse_meta(self.store.read(name), f"{self.store.url}/{name}")

    def url(self, step: int) -> str:
        """Where a checkpoint is."""
        return f"{self.store.url}/{_folder(step)}"

    @contextmanager
    def local(self, step: int) -> Iterator[Path]:
        """A copy of a checkpoint in a folder of this machine, for as long as it is needed.

        Raises:
            CheckpointError: a file of it is missing.
            StoreError: the store cannot be reached.
        """
        with scratch.folder() as made:
            with self._whole(step):
                for name in (STATE, META):
                    (made / name).write_bytes(self.store.read(f"{_folder(step)}/{name}"))
            yield made

    @contextmanager
    def _whole(self, step: int) -> Iterator[None]:
        """Tell a file that is missing from a store that does not answer."""
        try:
            yield
        except StoreError as error:
            missing = [
                name for name in (META, STATE) if not self.store.exists(f"{_folder(step)}/{name}")
            ]
            if not missing:
                raise
            raise CheckpointError(
                f"{self.url(step)}: no {missing[0]}, so it was never completed, or is damaged."
            ) from error

    def newest(self, check: Check, warn: Warn) -> tuple[CheckpointMeta, CheckpointState] | None:
        """The newest checkpoint that is whole, or None if none was ever completed.

        Raises:
            CheckpointError: what `check` raised; or there are some, and all are damaged.
            StoreError: the store cannot be reached.
        """
        steps = self.steps(complete=False)
        for step in reversed(steps):
            try:
                meta = self.meta(step)
                state = self._state(step)
            except CheckpointError as error:
                warn(f"{error} The checkpoint before it is used, if there is one.")
                continue
            check(meta, self.url(step))
            return meta, state
        if self.steps():
            raise CheckpointError(
                f"{self.store.url}: all {len(steps)} checkpoints are damaged. Restore one, or "
                "start anew with --fresh."
            )
        return None

    def _state(self, step: int) -> CheckpointState:
        with self.local(step) as folder:
            return checkpoint.read_state(folder, self.url(step))

    def best_first(self) -> list[CheckpointMeta]:
        """The evaluated checkpoints by falling top-1; of equals, the earlier first.

        Raises:
            StoreError: the store cannot be reached.
        """
        evaluated = []
        for step in self.steps():
            with suppress(CheckpointError):  # damaged: neither the best nor in the way
                meta = self.meta(step)
                evaluated += [meta] if meta.metrics else []
        return sorted(evaluated, key=lambda meta: (-meta.metrics["top1"], meta.step))

    @contextmanager
    def best(self, warn: Warn) -> Iterator[tuple[CheckpointMeta, Path]]:
        """The best evaluated checkpoint that is whole, in a folder of this machine.

        Raises:
            CheckpointError: none was evaluated, or all that were are damaged.
            StoreError: the store cannot be reached.
        """
        for meta in self.best_first():
            with ExitStack() as stack:
                try:
                    folder = stack.enter_context(self.local(meta.step))
                    checkpoint.read_state(folder, self.url(meta.step))
                except CheckpointError as error:
                    warn(f"{error} The next best is used, if there is one.")
                    continue
                yield meta, folder
                return
        raise CheckpointError(
            f"{self.store.url}: no whole checkpoint was evaluated: training did not reach the end "
            "of an epoch, or they are damaged. Go on with the same command."
        )

    def upload(self, folder: Path, step: int, events: Sequence[Event] = ()) -> None:
        """Keep the checkpoint in a folder of this machine; may be repeated.

        Raises:
            LeaseError: somebody else is at work on the run.
            StoreError: it cannot be written.
        """
        if self.token:
            lease.check_held(self.store, self.token)
        self.store.delete(f"{_folder(step)}/{META}")  # not complete while it is replaced
        self.store.upload(folder / STATE, f"{_folder(step)}/{STATE}")
        event_journal.write(self.store, events)
        self.store.upload(folder / META, f"{_folder(step)}/{META}")
        with suppress(StoreUnavailableError):  # the next checkpoint removes them
            self.retain(step)

    def retain(self, newest: int) -> None:
        """Remove all but the newest and the best, and what was started and never completed."""
        best = [meta.step for meta in self.best_first()[:1]]
        keep = {*self.steps()[-self.kept :], newest, *best}
        for step in self.steps(complete=False):
            if step < newest and step not in keep:
                for name in (META, STATE):
                    self.store.delete(f"{_folder(step)}/{name}")


def _folder(step: int) -> str:
    return f"step-{step:08d}"
