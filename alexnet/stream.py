"""Plan and store to batches: read ahead, check, decode, augment, and put a step's parts together.

A loader process owns some of its worker's streams. Threads read its streams' next windows by
ranged reads while the process decodes and augments; the training process joins the parts of a
step in stream order, so that a batch does not depend on how many processes made it. Pixels leave
as uint8 and are normalised on the device.
"""

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from alexnet import augment, manifest, seeds
from alexnet.config import AugmentConfig, DataConfig, TrainConfig
from alexnet.errors import AlexNetError, DataError
from alexnet.manifest import Manifest, Shard
from alexnet.plan import EpochPlan, Run, runs_in_order, share
from alexnet.store import Store

Item = TypeVar("Item")

READ_THREADS = 8
"""Ranged reads under way at once in a loader process; a read is mostly waiting for the store."""

INDEXES_KEPT = 64
"""Shard indexes kept in memory by a reader; 20 bytes a sample each."""

PARTS_AHEAD = 4
"""Parts of steps that each loader process may have ready before they are asked for."""


class Batch(NamedTuple):
    """Images of one step, or a part of them."""

    images: Tensor
    """(N, H, W, 3) uint8 RGB."""
    labels: Tensor
    """(N,) int64."""
    ids: Tensor
    """(N,) int64, the sample's position in its split, in manifest order."""


class Encoded(NamedTuple):
    """A sample as it lies in a shard."""

    sample_id: int
    label: int
    data: bytes


class ShardReader:
    """Samples of one split by ranged reads, each checked against its CRC-32C."""

    def __init__(self, store: Store, shards: tuple[Shard, ...]) -> None:
        self.store = store
        self.shards = shards
        sizes = np.array([shard.nsamples for shard in shards], np.int64)
        self.bases = np.cumsum(sizes) - sizes
        self._index = lru_cache(maxsize=INDEXES_KEPT)(
            lambda number: manifest.read_index(store, shards[number])
        )

    def read(self, run: Run) -> list[Encoded]:
        """The samples of a run, by one ranged read.

        Raises:
            StoreError: the shard cannot be read.
            DataError: a sample's bytes or the index are not those that were written.
        """
        shard = self.shards[run.shard]
        rows = self._index(run.shard)[run.first : run.first + run.num_samples]
        begin = int(rows[0]["offset"])
        end = int(rows[-1]["offset"]) + int(rows[-1]["length"])
        block = self.store.read(shard.url, begin, end - begin)
        samples = []
        for number, (offset, length, label, crc) in enumerate(rows.tolist(), run.first):
            data = block[offset - begin : offset - begin + length]
            if manifest.crc32c(data) != crc:
                raise DataError(
                    f"{self.store.url}/{shard.url}: sample {number} at byte {offset}: CRC-32C is "
                    "not the index's, so its bytes were changed. Restore the shard."
                )
            samples.append(Encoded(int(self.bases[run.shard]) + number, label, data))
        return samples


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
            [shard.nsamples for shard in self.manifest.split("train")],
            seed=self.train.seed,
            epoch=epoch,
            num_streams=self.data.num_streams,
            window_samples=self.data.window_samples,
            global_batch_size=self.train.global_batch_size,
        )

    def __iter__(self) -> Iterator[Batch | AlexNetError]:
        return _errors_as_items(self._parts())

    def _parts(self) -> Iterator[Batch]:
        mine = share(self.data.num_streams, self.rank, self.world_size)
        loader, loaders = _loader()
        streams = [mine[i] for i in share(len(mine), loader, loaders)]
        reader = ShardReader(self.store, self.manifest.split("train"))
        with ThreadPoolExecutor(READ_THREADS) as threads:
            steps_per_epoch = self.plan(0).steps
            first_epoch, skipped = divmod(self.start_step, steps_per_epoch)
            for epoch in range(first_epoch, self.train.epochs):
                plan = self.plan(epoch)
                position = skipped * plan.per_step
                skipped = 0
                sources = [
                    _stream_samples(plan, stream, position, reader, threads) for stream in streams
                ]
                for _ in range(position // plan.per_step, plan.steps):
                    samples = [next(source) for source in sources for _ in range(plan.per_step)]
                    yield self._decode(samples, epoch)

    def _decode(self, samples: list[Encoded], epoch: int) -> Batch:
        axes = np.array(self.manifest.colour.axes)

        def view(sample: Encoded) -> NDArray[np.uint8]:
            # Keyed by the sample, not by who draws: pixels do not depend on the worker.
            rng = seeds.generator(self.train.seed, "augment", epoch, sample.sample_id)
            return augment.augment(sample.data, self.data.image_px, self.augment, axes, rng)

        return _batch(samples, self.data.image_px, view, self.store.url)


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
        shards = self.manifest.split("val")
        sizes = [shard.nsamples for shard in shards]
        mine = share(sum(sizes), self.rank, self.world_size)
        loader, loaders = _loader()
        reader = ShardReader(self.store, shards)
        batches = [mine[i : i + self.batch_size] for i in range(0, len(mine), self.batch_size)]
        with ThreadPoolExecutor(READ_THREADS) as threads:
            reads = (
                [threads.submit(reader.read, run) for run in runs_in_order(sizes, batch)]
                for batch in batches[loader::loaders]
            )
            for futures in _one_ahead(reads):
                samples = [sample for future in futures for sample in future.result()]
                yield _batch(samples, self.data.image_px, self._view, self.store.url)

    def _view(self, sample: Encoded) -> NDArray[np.uint8]:
        return augment.evaluate_view(sample.data, self.data.image_px)


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


def join(parts: list[Batch], device: torch.device) -> Batch:
    """Put parts end to end on a device; from pinned memory the copies run beside the computation.

    Returns:
        (N, H, W, 3) uint8 images, (N,) labels and ids, N the sum over the parts.
    """
    if len(parts) == 1:
        return Batch(*(field.to(device, non_blocking=True) for field in parts[0]))
    if device.type == "cpu":
        return Batch(*(torch.cat(fields) for fields in zip(*parts, strict=True)))
    moved = [Batch(*(field.to(device, non_blocking=True) for field in part)) for part in parts]
    return Batch(*(torch.cat(fields) for fields in zip(*moved, strict=True)))


def _stream_samples(
    plan: EpochPlan, stream: int, position: int, reader: ShardReader, threads: ThreadPoolExecutor
) -> Iterator[Encoded]:
    """A stream's samples from `position` on; the next window is read while this one is used."""
    windows = (
        (window, [threads.submit(reader.read, run) for run in window.runs])
        for window in plan.windows(stream, position)
    )
    for window, futures in _one_ahead(windows):
        samples = [sample for future in futures for sample in future.result()]
        for place in window.order[max(0, position - window.start) :]:
            yield samples[place]


def _one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each asked for before the one in front of it is handed out."""
    held: list[Item] = []
    for item in items:
        held.append(item)
        if len(held) == 2:
            yield held.pop(0)
    yield from held


def _batch(samples: list[Encoded], side_px: int, view: Any, where: str) -> Batch:
    images = np.empty((len(samples), side_px, side_px, 3), np.uint8)
    for row, sample in enumerate(samples):
        try:
            images[row] = view(sample)
        except DataError as error:
            raise DataError(f"{where}: sample {sample.sample_id}: {error}") from error
    return Batch(
        torch.from_numpy(images),
        torch.tensor([sample.label for sample in samples]),
        torch.tensor([sample.sample_id for sample in samples]),
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
    context.set_forkserver_preload(["alexnet.stream"])
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
    """Hand a user's error over as a value: raised, it would arrive wrapped in a traceback."""
    try:
        yield from items
    except AlexNetError as error:
        yield error


def _raise_errors(items: Iterable[Any]) -> Iterator[Batch]:
    for item in items:
        if isinstance(item, AlexNetError):
            raise item
        yield Batch(*item)


def _groups(items: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Items in groups: DataLoader takes one from each process in turn, so a group is a step."""
    while group := list(islice(items, size)):
        if len(group) < size:
            raise DataError(
                f"a loader process ended {size - len(group)} parts early. Its log says why."
            )
        yield group
