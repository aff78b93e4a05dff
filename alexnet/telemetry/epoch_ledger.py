"""The ledger of an epoch: every sample is delivered, skipped for a reason, or left over."""

from dataclasses import dataclass, field
from typing import NamedTuple

from alexnet.errors import DataError


class Skipped(NamedTuple):
    """A sample that could not be used in an epoch; another took its place."""

    epoch: int
    sample_id: int
    name: str
    """Shard and name of the sample."""
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """The account of an epoch over all workers."""

    epoch: int
    expected: int
    """Samples of the split."""
    delivered: int
    """Whose turn came, and that were used."""
    skipped: tuple[Skipped, ...]
    left_over: int
    """Whose turn did not come, because they do not fill a global batch."""

    def check(self) -> None:
        """Hold the account to its rule: every sample is in one column.

        Raises:
            DataError: it does not add up, so the epoch was not what it was planned to be.
        """
        found = self.delivered + len(self.skipped) + self.left_over
        if found != self.expected:
            raise DataError(
                f"epoch {self.epoch}: {self.delivered} samples delivered, {len(self.skipped)} "
                f"skipped and {self.left_over} left over make {found}, the data set has "
                f"{self.expected}. Report this with the log of the run: it is a bug."
            )

    def metrics(self) -> dict[str, float]:
        """Counts, as MLflow gets them."""
        return {
            "data/delivered": self.delivered,
            "data/skipped": len(self.skipped),
            "data/left_over": self.left_over,
        }


@dataclass(slots=True)
class Tally:
    """What one worker has seen of an epoch so far."""

    turns: int = 0
    """Samples whose turn came."""
    skipped: list[Skipped] = field(default_factory=list)
