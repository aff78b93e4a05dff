"""Throughput, loss and waiting time since the last progress line, and S3 usage."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from alexnet.loading.batch import Batch
from alexnet.telemetry import s3_usage
from alexnet.training.worker import Worker


@dataclass
class Meter:
    """What happened since the last progress line, and what was asked of S3 since the start."""

    device: torch.device
    images: int = 0
    wait_s: float = 0.0
    since: float = field(default_factory=time.perf_counter)
    loss_sum: Tensor = field(init=False)
    """Stays on the device: reading it every step would wait for the GPU every step."""
    asked: Tensor = field(init=False)
    """One number for each of `s3_usage.NAMES`."""

    def __post_init__(self) -> None:
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.asked = self.loss_sum.new_zeros(len(s3_usage.NAMES))

    def add(self, images: int, loss_sum: Tensor) -> None:
        """Count one step."""
        self.images += images
        self.loss_sum += loss_sum.detach()

    def timed(self, batches: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
        """The batches, with the time they kept the loop waiting."""
        while True:
            begun = time.perf_counter()
            parts = next(batches, None)
            self.wait_s += time.perf_counter() - begun
            if parts is None:
                return
            yield parts

    def rates(self, worker: Worker) -> dict[str, float]:
        """Over all workers, since the last call; every worker takes part."""
        elapsed_s = time.perf_counter() - self.since
        mine = self.loss_sum.new_tensor([0, self.images, self.wait_s])
        mine[0] = self.loss_sum
        loss_sum, images, wait_s = worker.all_reduce(mine).tolist()
        self.images, self.wait_s, self.since = 0, 0.0, time.perf_counter()
        self.loss_sum.zero_()
        return {
            "train/loss": loss_sum / images,
            "train/images_per_s": images / elapsed_s,
            "train/data_wait": wait_s / worker.world_size / elapsed_s,
        }

    def requests(self, worker: Worker) -> dict[str, float]:
        """Of all workers and their loader processes, up to now; every worker takes part."""
        self.asked += worker.all_reduce(self._own_requests())
        return s3_usage.metrics(self.asked.tolist())

    def last_requests(self) -> dict[str, float]:
        """The same with this worker's since, when the others may have ended."""
        self.asked += self._own_requests()
        return s3_usage.metrics(self.asked.tolist())

    def _own_requests(self) -> Tensor:
        return self.asked.new_tensor(s3_usage.OF_PROCESS.take())
