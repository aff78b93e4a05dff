"""Detects losses and weights that are not finite, on the device, and names their samples.

Reading a loss each step would wait for the GPU each step. So the first step that goes wrong is
remembered on the device, and looked at with each progress line and before each checkpoint.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

MOST_NAMED = 4
"""Samples named in a message."""


class Found(NamedTuple):
    """Losses of one worker that were not finite."""

    step: int
    """Updates completed before the first step that had one."""
    sample_ids: list[int]
    """In this worker's part of that step, as positions in the training split."""


class LossGuard:
    """Remembers the first step of a worker whose loss was not finite."""

    def __init__(self, device: torch.device) -> None:
        self._step = torch.full((), -1, device=device)
        self._bad: Tensor | None = None
        self._ids: Tensor | None = None

    def watch(self, step: int, losses: Tensor, ids: Tensor) -> None:
        """Look at a step; nothing is read back from the device.

        Args:
            step: updates completed before it.
            losses: (N,) of this worker's images; N is the same in each step.
            ids: (N,) of the images.
        """
        bad = ~torch.isfinite(losses.detach())
        if self._bad is None or self._ids is None:
            self._bad, self._ids = bad, ids
        first = (self._step < 0) & bad.any()
        self._step = torch.where(first, step, self._step)
        self._bad = torch.where(first, bad, self._bad)
        self._ids = torch.where(first, ids, self._ids)

    def found(self) -> list[Found]:
        """The first step that had one, or nothing."""
        if self._bad is None or self._ids is None or self._step < 0:
            return []
        return [Found(int(self._step), self._ids[self._bad].tolist())]

    @property
    def tripped(self) -> Tensor:
        """() 1.0 if there was one, else 0.0; on the device."""
        return (self._step >= 0).double()


def all_finite(network: nn.Module) -> Tensor:
    """() bool on the device: whether every weight is a finite number."""
    return torch.stack([p.detach().isfinite().all() for p in network.parameters()]).all()


def earliest(found: list[Found]) -> Found:
    """The first step among all workers' findings, with all their samples in it."""
    step = min(each.step for each in found)
    return Found(step, sorted(i for each in found if each.step == step for i in each.sample_ids))


def message(found: Found, names: list[str]) -> str:
    """What to tell the user.

    Args:
        found: over all workers.
        names: shard and name of the first `MOST_NAMED` samples.
    """
    count = len(found.sample_ids)
    more = f" and {count - len(names)} more" if count > len(names) else ""
    return (
        f"step {found.step + 1}: the loss is not finite, on {count} of its images: "
        f"{', '.join(names)}{more}. The last checkpoint is from before and is kept. Lower "
        "optim.learning_rate, or look at these images."
    )
