"""Counts what came of each sample while an epoch is trained on, over all workers."""

import torch

from alexnet.loading.batch import Batch
from alexnet.loading.epoch_plan import steps_and_remainder
from alexnet.telemetry.epoch_ledger import Ledger, Skipped, Tally
from alexnet.training.worker import Worker


class EpochAccount:
    """Counts one worker's samples, and adds up those of all when the epoch ends."""

    def __init__(self, worker: Worker, num_samples: int, global_batch_size: int) -> None:
        """`num_samples`: of the training split."""
        self._worker, self._expected, self._batch_size = worker, num_samples, global_batch_size
        self._tally = Tally()

    def resume(self, steps: int, skipped: tuple[Skipped, ...]) -> None:
        """Take over what all workers had counted after so many steps of the epoch."""
        if self._worker.rank == 0:
            self._tally = Tally(steps * self._batch_size, list(skipped))

    def add(self, batch: Batch) -> None:
        """Count this worker's part of a step."""
        self._tally.turns += len(batch.labels)
        self._tally.skipped += batch.skipped

    def skipped(self) -> tuple[Skipped, ...]:
        """All workers' skipped samples of this epoch; every worker takes part."""
        mine = self._tally.skipped
        count = torch.tensor(len(mine), device=self._worker.device)
        # Nearly always nothing: then this one number is all that is exchanged.
        return tuple(self._worker.gather(mine)) if self._worker.all_reduce(count) else ()

    def close(self, epoch: int) -> Ledger:
        """The ledger of the epoch that ends here; every worker takes part.

        Raises:
            DataError: it does not add up.
        """
        skipped = self.skipped()
        mine = torch.tensor(self._tally.turns, device=self._worker.device)
        ledger = Ledger(
            epoch=epoch,
            expected=self._expected,
            delivered=int(self._worker.all_reduce(mine)) - len(skipped),
            skipped=skipped,
            left_over=steps_and_remainder(self._expected, self._batch_size)[1],
        )
        ledger.check()
        self._tally = Tally()
        return ledger
