"""Plan and store to batches: read ahead, decode, augment, and put a step's parts together.

A loader process owns some of its worker's streams. Threads read its streams' next windows while
the process decodes and augments; the training process joins the parts of a step in stream order,
so that a batch does not depend on how many processes made it. Pixels leave as uint8 and are
normalised on the device.
"""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from alexnet import augment, seeds
from alexnet.config import AugmentConfig, DataConfig, TrainConfig
from alexnet.dataset.manifest import Manifest
from alexnet.dataset.shard_reader import Encoded, ShardReader, ranges_in_order
from alexnet.errors import AlexNetError, DataError
from alexnet.loading.bad_samples import BadBudget
from alexnet.loading.batch import Batch
from alexnet.loading.epoch_plan import EpochPlan, Window, share
from alexnet.loading.prefetch import ReadAhead
from alexnet.storage.store import Store
from alexnet.telemetry import s3_usage
from alexnet.telemetry.epoch_ledger import Skipped

Item = TypeVar("Item")

READ_THREADS = 8
"""Ranged reads under way at once in a loader process; a read is mostly waiting for the store."""

REPLACEMENTS = 10
"""Samples drawn in place of a bad one before the data set counts as broken."""

PARTS_AHEAD = 4
"""Parts of steps that each loader process may have ready before they are asked for."""


@dataclass(frozen=True, kw_only=True)
class TrainParts(IterableDataset[Any]):
    """A worker's part of every step from `start_step` to the end of training.

    One iterator spans all epochs: the next epoch's first windows are read while the last steps of
    this one are trained on.
    """

    store: Store
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
            filler = Filler(self, reader, len(streams))
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


class Filler:
    """Samples to pixels; what cannot be used is replaced and counted."""

    def __init__(self, parts: TrainParts, reader: ShardReader, num_streams: int) -> None:
        self._parts, self._reader = parts, reader
        self._axes = np.array(parts.manifest.colour.axes)
        self._budget = BadBudget(parts.data, parts.plan(0).stream_samples * num_streams)

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
            (run,) = ranges_in_order(self._reader.ends, range(drawn, drawn + 1))
            (sample,) = self._reader.read(run)
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

    store: Store
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


def training_batches(parts: TrainParts, *, pin_memory: bool = False) -> Iterator[list[Batch]]:
    """The worker's batches, each as parts that are to be put end to end.

    Raises:
        DataError, StoreError: reading failed in a loader process.
    """
    streams = len(share(parts.data.num_streams, parts.rank, parts.world_size))
    loaders = min(parts.data.loader_processes, streams)
    items = _raise_errors(_start(parts, loaders, pin_memory=pin_memory))
    return _groups(items, max(1, loaders))


class ValidationStream:
    """The worker's validation batches, any number of times, from processes that stay."""

    def __init__(self, parts: ValidationParts, *, pin_memory: bool = False) -> None:
        self._loader = _start(parts, parts.data.loader_processes, pin_memory=pin_memory, stay=True)

    def __iter__(self) -> Iterator[list[Batch]]:
        """One pass; a batch has one part.

        Raises:
            DataError, StoreError: reading failed in a loader process.
        """
        return _groups(_raise_errors(self._loader), 1)


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


def _start(
    parts: IterableDataset[Any], processes: int, *, pin_memory: bool, stay: bool = False
) -> DataLoader[Any]:
    if not processes:
        return DataLoader(parts, batch_size=None, pin_memory=pin_memory)
    # forkserver: a fork of a process that holds Ray's and gRPC's threads may hang. The server
    # imports torch once for all loader processes.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["alexnet.loading.data_loader"])
    return DataLoader(
        parts,
        batch_size=None,
        num_workers=processes,
        multiprocessing_context=context,
        prefetch_factor=PARTS_AHEAD,
        persistent_workers=stay,
        pin_memory=pin_memory,
    )


def _errors_as_items(items: Iterator[Batch]) -> Iterator[Batch | AlexNetError]:
    """What a loader process hands over: batches, with what it has asked of S3 meanwhile.

    A user's error is handed over as a value: raised, it would arrive wrapped in a traceback.
    """
    try:
        for batch in items:
            yield batch._replace(traffic=s3_usage.OF_PROCESS.take())
    except AlexNetError as error:
        yield error


def _raise_errors(items: Iterable[Any]) -> Iterator[Batch]:
    for item in items:
        if isinstance(item, AlexNetError):
            raise item
        images, labels, ids, skipped, counts = item
        s3_usage.OF_PROCESS.absorb(counts)
        yield Batch(images, labels, ids, tuple(Skipped(*fields) for fields in skipped))


def _groups(items: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Items in groups: DataLoader takes one from each process in turn, so a group is a step."""
    while group := list(islice(items, size)):
        if len(group) < size:
            raise DataError(
                f"a loader process ended {size - len(group)} parts early. Its log says why."
            )
        yield group
