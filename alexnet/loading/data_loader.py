"""Loader processes, and the batches that come of what they make (`samples.py`).

Each process owns some of its worker's streams. The training process joins the parts of a step in
stream order, so that a batch does not depend on how many processes made it.
"""

import multiprocessing
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from alexnet.errors import AlexNetError, DataError
from alexnet.loading.batch import Batch
from alexnet.loading.epoch_plan import share
from alexnet.loading.prefetch import PARTS_AHEAD
from alexnet.loading.samples import TrainParts, ValidationParts
from alexnet.telemetry import s3_usage
from alexnet.telemetry.epoch_ledger import Skipped


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


def _start(
    parts: IterableDataset[Any], processes: int, *, pin_memory: bool, stay: bool = False
) -> DataLoader[Any]:
    if not processes:
        return DataLoader(parts, batch_size=None, pin_memory=pin_memory)
    # forkserver: a fork of a process that holds Ray's and gRPC's threads may hang. The server
    # imports torch once for all loader processes.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return DataLoader(
        parts,
        batch_size=None,
        num_workers=processes,
        multiprocessing_context=context,
        prefetch_factor=PARTS_AHEAD,
        persistent_workers=stay,
        pin_memory=pin_memory,
    )


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
