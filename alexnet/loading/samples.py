"""What one loader process makes of its share of the data: samples read, decoded and augmented.

Threads read the next windows while the process decodes and augments. Pixels leave as uint8 and are
normalised on the device.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from alexnet import augment, seeds
from alexnet.config import AugmentConfig, DataConfig, TrainConfig
from alexnet.dataset.manifest import Manifest
from alexnet.dataset.shard_reader import Encoded, ShardReader, ranges_in_order
from alexnet.errors import AlexNetError, DataError
from alexnet.loading.batch import Batch
from alexnet.loading.epoch_plan import EpochPlan, Window, share
from alexnet.loading.prefetch import ReadAhead
from alexnet.storage.store import ReadableStore
from alexnet.telemetry import s3_usage
from alexnet.telemetry.epoch_ledger import Skipped

Item = TypeVar("Item")

READ_THREADS = 8
"""Ranged reads under way at once in a loader process; a read is mostly waiting for the store."""

REPLACEMENTS = 10
"""Samples drawn in place of a bad one before the data set counts as broken."""


@dataclass(frozen=True, kw_only=True)
class TrainParts(IterableDataset[Any]):
    """A worker's part of every step from `start_step` to the end of training.

    One iterator spans all epochs: the next epoch's first windows are read while the last steps of
    this one are trained on.
    """

    store: ReadableStore
    manifest: Manifest
    data: DataConfig
    augment: AugmentConfig
    train: TrainConfig
    rank: int
    world_size: int
    start_step: int

    def plan(self, epoch: int) -> EpochPlan:
        """The order of an epoch."""
        return EpochPlan(
            self.manifest.split("train").sizes,
            seed=self.train.seed,
            epoch=epoch,
            num_streams=self.data.num_streams,
            window_samples=self.data.window_samples,
            global_batch_size=self.train.global_batch_size,
        )

    def __iter__(self) -> Iterator[Batch | AlexNetError]:
        return _errors_as_items(self.parts(*_loader()))

    def parts(self, loader: int = 0, loaders: int = 1) -> Iterator[Batch]:
        """What one loader process of the worker makes.

        Args:
            loader: its number.
            loaders: how many there are.

        Raises:
            StoreError, DataError: reading failed, or too many samples are bad.
        """
        mine = share(self.data.num_streams, self.rank, self.world_size)
        streams = [mine[i] for i in share(len(mine), loader, loaders)]
        reader = ShardReader(self.store, self.manifest.split("train"))
        plan = lru_cache(maxsize=2)(self.plan)
        steps = plan(0).steps
        windows = [self._windows(stream, plan) for stream in streams]
        with ThreadPoolExecutor(READ_THREADS) as threads:
            ahead = ReadAhead(reader, windows, threads, self.data.read_ahead_mib * 2**20)
            filler = Filler(self, reader, plan(0).stream_samples * len(streams))
            for step in range(self.start_step, steps * self.train.epochs):
                epoch, number = divmod(step, steps)
                per_step = plan(epoch).per_step
                places = range(number * per_step, (number + 1) * per_step)
                samples = [ahead.take(i, epoch, at) for i in range(len(streams)) for at in places]
                yield filler.fill(samples, epoch)
                ahead.pump()

    def _windows(self, stream: int, plan: Callable[[int], EpochPlan]) -> Iterator[Window]:
        """The stream's windows from `start_step` to the end of training."""
        epoch, number = divmod(self.start_step, plan(0).steps)
        position = number * plan(epoch).per_step
        for later in range(epoch, self.train.epochs):
            yield from plan(later).windows(stream, position)
            position = 0


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


class Filler:
    """Samples to pixels; what cannot be used is replaced and counted."""

    def __init__(self, parts: TrainParts, reader: ShardReader, epoch_samples: int) -> None:
        """`epoch_samples`: of this process in an epoch."""
        self._parts, self._reader = parts, reader
        self._axes = np.array(parts.manifest.colour.axes)
        self._budget = BadBudget(parts.data, epoch_samples)

    def fill(self, samples: list[Encoded], epoch: int) -> Batch:
        """A part of a step.

        Raises:
            DataError: too many samples are bad.
        """
        side = self._parts.data.image_px
        images = np.empty((len(samples), side, side, 3), np.uint8)
        used, skipped = [], []
        for row, sample in enumerate(samples):
            try:
                images[row] = self._view(sample, epoch)
                self._budget.count(epoch, None)
                used.append(sample)
            except DataError as error:
                name = self._reader.name_of(sample.sample_id)
                skipped.append(Skipped(epoch, sample.sample_id, name, str(error)))
                self._budget.count(epoch, skipped[-1])
                used.append(self._replace(skipped[-1], images[row]))
        return _batch(images, used, tuple(skipped))

    def _replace(self, skipped: Skipped, out: NDArray[np.uint8]) -> Encoded:
        """Another sample of the split, drawn by the bad one's number: the same on any worker."""
        for attempt in range(REPLACEMENTS):
            draw = ("replace", skipped.epoch, skipped.sample_id, attempt)
            drawn = seeds.derive(self._parts.train.seed, *draw) % int(self._reader.ends[-1])
            sample = self._reader.sample(drawn)
            with suppress(DataError):
                out[:] = self._view(sample, skipped.epoch)
                return sample
        raise DataError(
            f"{self._parts.store.url}/{skipped.name}: {skipped.reason}; nor can {REPLACEMENTS} "
            "samples drawn in its place be used. Restore the shards, or prepare the data anew."
        )

    def _view(self, sample: Encoded, epoch: int) -> NDArray[np.uint8]:
        parts = self._parts
        # Keyed by the sample, not by who draws: pixels do not depend on the worker.
        rng = seeds.generator(parts.train.seed, "augment", epoch, sample.sample_id)
        return augment.augment(sample.file(), parts.data.image_px, parts.augment, self._axes, rng)


@dataclass(frozen=True, kw_only=True)
class ValidationParts(IterableDataset[Any]):
    """A worker's share of the validation split: every sample once over all workers, in order."""

    store: ReadableStore
    manifest: Manifest
    data: DataConfig
    batch_size: int
    rank: int
    world_size: int

    def __iter__(self) -> Iterator[Batch | AlexNetError]:
        return _errors_as_items(self._parts())

    def _parts(self) -> Iterator[Batch]:
        split = self.manifest.split("val")
        mine = share(split.num_samples, self.rank, self.world_size)
        loader, loaders = _loader()
        reader = ShardReader(self.store, split)
        batches = [mine[i : i + self.batch_size] for i in range(0, len(mine), self.batch_size)]
        with ThreadPoolExecutor(READ_THREADS) as threads:
            reads = (
                [threads.submit(reader.read, run) for run in ranges_in_order(reader.ends, batch)]
                for batch in batches[loader::loaders]
            )
            for futures in _one_ahead(reads):
                samples = [sample for future in futures for sample in future.result()]
                views = [self._view(sample, reader) for sample in samples]
                yield _batch(np.stack(views), samples)

    def _view(self, sample: Encoded, reader: ShardReader) -> NDArray[np.uint8]:
        # Validation counts every image: none can be left out, or be counted for another.
        try:
            return augment.evaluate_view(sample.file(), self.data.image_px)
        except DataError as error:
            raise DataError(
                f"{self.store.url}/{reader.name_of(sample.sample_id)}: {error}. Restore the "
                "shard, or prepare the data anew."
            ) from error


def _one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each asked for before the one in front of it is handed out."""
    held: list[Item] = []
    for item in items:
        held.append(item)
        if len(held) == 2:
            yield held.pop(0)
    yield from held


def _batch(
    images: NDArray[np.uint8], samples: list[Encoded], skipped: tuple[Skipped, ...] = ()
) -> Batch:
    return Batch(
        torch.from_numpy(images),
        torch.tensor([sample.label for sample in samples]),
        torch.tensor([sample.sample_id for sample in samples]),
        skipped,
    )


def _loader() -> tuple[int, int]:
    """Number of this loader process and how many there are; (0, 1) in the training process."""
    info = get_worker_info()
    return (info.id, info.num_workers) if info else (0, 1)


def _errors_as_items(items: Iterator[Batch]) -> Iterator[Batch | AlexNetError]:
    """What a loader process hands over: batches, with what it has asked of S3 meanwhile.

    A user's error is handed over as a value: raised, it would arrive wrapped in a traceback.
    """
    try:
        for batch in items:
            yield batch._replace(s3_counts=s3_usage.OF_PROCESS.take())
    except AlexNetError as error:
        yield error
