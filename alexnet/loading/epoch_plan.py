"""Which sample is trained on at which step: arithmetic on integers, no input or output.

The order of an epoch is a pure function of (shard sizes, seed, epoch) and does not depend on the
number of workers or loader processes:

1. The shards are permuted; their samples, end to end, form a ring of N. It is cut open at a random
   place, so that what is left over at the end differs from epoch to epoch.
2. The line is cut into `num_streams` equal stripes, the canonical streams.
3. Each stream shuffles its stripe window by window. Window borders are staggered over the streams,
   so that reads spread out.
4. Step t takes the next `global_batch / num_streams` samples of every stream, in stream order.

So the position of a run is one integer, the step. Nothing here holds a list of N samples: a plan
costs one permutation of the shards.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet import seeds
from alexnet.dataset.shard_reader import SampleRange
from alexnet.errors import DataError


class Window(NamedTuple):
    """Samples that a stream reads and shuffles as one."""

    epoch: int
    start: int
    """Position in the stream of the window's first sample."""
    runs: tuple[SampleRange, ...]
    order: NDArray[np.int64]
    """(samples in the window,): which of the window's samples, in reading order, comes when."""


class EpochPlan:
    """The order of one training epoch."""

    def __init__(
        self,
        shard_sizes: Sequence[int] | NDArray[np.integer[Any]],
        *,
        seed: int,
        epoch: int,
        num_streams: int,
        window_samples: int,
        global_batch_size: int,
    ) -> None:
        """Permute the shards and cut the ring.

        Args:
            shard_sizes: samples of each shard of the split, in manifest order.
            seed: of the run.
            epoch: from 0.
            num_streams: canonical streams; divides `global_batch_size`.
            window_samples: samples shuffled as one.
            global_batch_size: images per update over all workers.

        Raises:
            DataError: see `steps_and_remainder`.
        """
        sizes = np.asarray(shard_sizes, np.uint32)
        rng = seeds.generator(seed, "shards", epoch)
        self.seed, self.epoch = seed, epoch
        self.num_streams, self.window_samples = num_streams, window_samples
        self.global_batch_size = global_batch_size
        self.num_samples = int(sizes.sum(dtype=np.int64))
        self.steps, self.left_over = steps_and_remainder(self.num_samples, global_batch_size)
        """Full global batches in the epoch, and the samples not delivered in it."""
        self._shards = np.arange(len(sizes), dtype=np.uint32)
        rng.shuffle(self._shards)
        self._ends = np.cumsum(sizes[self._shards], dtype=np.int64)
        self._cut = int(rng.integers(self.num_samples))

    @property
    def per_step(self) -> int:
        """Samples that a stream gives to a step."""
        return self.global_batch_size // self.num_streams

    @property
    def stream_samples(self) -> int:
        """Samples in a stream's stripe."""
        return self.num_samples // self.num_streams

    def windows(self, stream: int, position: int = 0) -> Iterator[Window]:
        """Windows of a stream from the one that holds `position`, to the end of the epoch."""
        begin = 0
        # The first window of stream s is (s + 1) / num_streams of a whole one.
        end = max(1, self.window_samples * (stream + 1) // self.num_streams)
        number = 0
        while begin < self.stream_samples:
            end = min(end, self.stream_samples)
            if end > position:
                rng = seeds.generator(self.seed, "window", self.epoch, stream, number)
                start = stream * self.stream_samples + begin
                yield Window(
                    self.epoch, begin, self._runs(start, end - begin), rng.permutation(end - begin)
                )
            begin, end = end, end + self.window_samples
            number += 1

    def _runs(self, start: int, count: int) -> tuple[SampleRange, ...]:
        """The samples at line positions [start, start + count) as runs inside shards."""
        runs = []
        place = (start + self._cut) % self.num_samples
        slot = int(np.searchsorted(self._ends, place, side="right"))
        while count:
            begin = int(self._ends[slot - 1]) if slot else 0
            taken = min(count, int(self._ends[slot]) - place)
            runs.append(SampleRange(int(self._shards[slot]), place - begin, taken))
            count -= taken
            place += taken
            slot += 1
            if slot == len(self._ends):
                slot, place = 0, 0
        return tuple(runs)


def steps_and_remainder(num_samples: int, global_batch_size: int) -> tuple[int, int]:
    """Full global batches in an epoch, and the samples that are left over: fewer than one batch.

    Raises:
        DataError: there are fewer samples than one global batch.
    """
    if num_samples < global_batch_size:
        raise DataError(
            f"train.global_batch_size = {global_batch_size}: the training split has only "
            f"{num_samples} images. Set a batch of at most that."
        )
    return divmod(num_samples, global_batch_size)


def share(items: int, part: int, parts: int) -> range:
    """The `part`-th of `parts` neighbouring shares of `range(items)`; sizes differ by at most one.

    Deals streams to ranks, a rank's streams to its loader processes, and validation samples to
    ranks. Shares are neighbours, so that parts put end to end are in the canonical order.
    """
    return range(items * part // parts, items * (part + 1) // parts)
