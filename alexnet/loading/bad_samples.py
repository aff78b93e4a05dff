"""How many samples may be bad before a run stops."""

from alexnet.config import DataConfig
from alexnet.errors import DataError
from alexnet.telemetry.epoch_ledger import Skipped


class BadBudget:
    """Stops a run whose data is worse than it may be."""

    def __init__(self, limits: DataConfig, samples: int) -> None:
        """`samples`: of this process in an epoch."""
        self._limits, self._samples = limits, samples
        self._epoch, self._bad, self._in_a_row = -1, 0, 0

    def count(self, epoch: int, skipped: Skipped | None) -> None:
        """Count a slot.

        Raises:
            DataError: more are bad than may be, in a row or by share.
        """
        if epoch != self._epoch:
            self._epoch, self._bad = epoch, 0
        self._in_a_row = self._in_a_row + 1 if skipped else 0
        if not skipped:
            return
        self._bad += 1
        limits = self._limits
        rule = ""
        if self._in_a_row > limits.max_bad_in_a_row:
            rule = f"{self._in_a_row} in a row, data.max_bad_in_a_row = {limits.max_bad_in_a_row}"
        elif self._bad > limits.max_bad_share * self._samples:
            rule = f"{self._bad} of {self._samples}, data.max_bad_share = {limits.max_bad_share}"
        if rule:
            raise DataError(
                f"{skipped.name}: {skipped.reason}; samples that cannot be used: {rule}. Restore "
                "the shard, or prepare the data anew."
            )
