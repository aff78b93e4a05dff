"""What the loop needs from its surroundings, and the surroundings of a single process.

The loop never imports Ray: `alexnet/adapters/ray_runner.py` has a worker for it, and `LocalWorker`
runs the same loop alone, which is what tests do.
"""

import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from alexnet import checkpoint
from alexnet.errors import CheckpointError
from alexnet.progress import Event


class Worker(Protocol):
    """One of `world_size` processes that train together."""

    @property
    def rank(self) -> int:
        """Position among all workers, from 0."""
        ...

    @property
    def world_size(self) -> int:
        """How many workers there are."""
        ...

    @property
    def device(self) -> torch.device:
        """Where this worker computes."""
        ...

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the workers."""
        ...

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum over the workers, in place."""
        ...

    def gather(self, items: list[Any]) -> list[Any]:
        """The items of all workers, in order of rank."""
        ...

    def latest_checkpoint(self) -> AbstractContextManager[Path | None]:
        """Directory of the checkpoint to go on from, or None at the start of a run."""
        ...

    def report(self, metrics: dict[str, float], folder: Path | None) -> None:
        """Hand over a checkpoint directory (rank 0) and take part in doing so (the others).

        The directory belongs to the worker from then on, which removes it.
        """
        ...

    def publish(self, event: Event) -> None:
        """Tell whoever watches; only rank 0 calls it."""
        ...


@dataclass
class LocalWorker:
    """A worker that is alone; checkpoints go to `folder/step-<n>`."""

    folder: Path | None = None
    """None keeps no checkpoint."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    world_size: int = 1
    events: list[Event] = field(default_factory=list)
    """What was published."""

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model itself: there is nobody to average with."""
        return model

    def all_reduce(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return values

    def gather(self, items: list[Any]) -> list[Any]:
        """The items themselves."""
        return items

    def latest_checkpoint(self) -> AbstractContextManager[Path | None]:
        """The complete checkpoint with the highest step."""
        complete: dict[int, Path] = {}
        for path in self.folder.glob("step-*") if self.folder else ():
            try:
                complete[checkpoint.read_meta(path).step] = path
            except CheckpointError:
                continue  # cut off while it was written
        return nullcontext(complete[max(complete)] if complete else None)

    def report(self, metrics: dict[str, float], folder: Path | None) -> None:
        """Keep the checkpoint."""
        if folder is None:
            return
        if self.folder:
            shutil.copytree(folder, self.folder / f"step-{int(metrics['step']):08d}")
        shutil.rmtree(folder)

    def publish(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)
