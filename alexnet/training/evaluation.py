"""Evaluation as counts that add up, over batches and over workers."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet import model
from alexnet.dataset.manifest import Manifest
from alexnet.errors import DataError
from alexnet.loading.batch import Batch, join
from alexnet.training.worker import Worker


@dataclass(frozen=True, slots=True)
class Counts:
    """What was seen, as sums. Add them, and divide once."""

    images: int
    top1: int
    """Images whose most probable class is the right one."""
    top5: int
    """Images whose right class is among the five most probable (all, with fewer classes)."""
    loss_sum: float
    """Sum over images of the cross-entropy, in nats."""

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.images + other.images,
            self.top1 + other.top1,
            self.top5 + other.top5,
            self.loss_sum + other.loss_sum,
        )

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> "Counts":
        """Count a batch.

        A class that ties with the right one counts as more probable, so that a network that
        answers the same for all classes is right never, and not always.

        Args:
            logits: (N, K) of any float dtype.
            labels: (N,) int64 in [0, K).
        """
        logits = logits.float()
        others = model.ranks(logits, labels)
        loss_sum = F.cross_entropy(logits, labels, reduction="sum").double()
        sums = torch.stack([(others < 1).sum().double(), (others < 5).sum().double(), loss_sum])
        top1, top5, loss = sums.tolist()  # the only wait for the device
        return cls(len(labels), int(top1), int(top5), loss)

    def rates(self) -> dict[str, float]:
        """`top1` and `top5` in [0, 1], and `loss`, the mean in nats.

        Raises:
            DataError: no image was counted.
        """
        if not self.images:
            raise DataError("no image was evaluated: the validation split is empty.")
        return {
            "top1": self.top1 / self.images,
            "top5": self.top5 / self.images,
            "loss": self.loss_sum / self.images,
        }

    def as_tensor(self) -> Tensor:
        """(4,) float64, for a sum over workers; counts are exact up to 2**53."""
        return torch.tensor([self.images, self.top1, self.top5, self.loss_sum], dtype=torch.float64)

    @classmethod
    def from_tensor(cls, sums: Tensor) -> "Counts":
        """The counts in a tensor of `as_tensor`."""
        images, top1, top5, loss_sum = sums.tolist()
        return cls(int(images), int(top1), int(top5), loss_sum)


def precision(device: torch.device) -> AbstractContextManager[Any]:
    """bf16 autocast on GPUs that have it, float32 elsewhere.

    CPUs stay in float32: runs there are for learning and for tests, which compare bits.
    """
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


@dataclass
class Normalizer:
    """uint8 batches to the network's input, on the device."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, manifest: Manifest, device: torch.device) -> "Normalizer":
        """With the mean and standard deviation of the data set."""
        mean, std = (
            torch.tensor(v, device=device) for v in (manifest.colour.mean, manifest.colour.std)
        )
        return cls(mean, std)

    def __call__(self, images: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 to (N, 3, H, W) float32, channels last in memory."""
        return model.to_input(images, self.mean, self.std)


@torch.inference_mode()
def evaluate(
    network: nn.Module, batches: Iterable[list[Batch]], normalize: Normalizer, worker: Worker
) -> Counts:
    """Counts over all workers' batches; the same on every worker.

    Counts are summed and divided once by the caller. Averaging the workers' accuracies would weigh
    a worker with 3 images like one with 3,000.
    """
    network.eval()
    total = Counts(0, 0, 0, 0.0)
    for parts in batches:
        batch = join(parts, worker.device)
        with precision(worker.device):
            logits = network(normalize(batch.images))
        total += Counts.of(logits, batch.labels)
    network.train()
    return Counts.from_tensor(worker.all_reduce(total.as_tensor().to(worker.device)))
