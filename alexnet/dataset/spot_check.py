"""Reads one sample of each shard: a check of the data set within seconds."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from alexnet import images
from alexnet.dataset.manifest import Manifest
from alexnet.dataset.shard_reader import SampleRange, ShardReader
from alexnet.errors import DataError
from alexnet.storage.store import ReadableStore

READERS = 16
"""Shards looked at at once; a look is mostly waiting for the store."""

LOOK_S = 30.0
"""After this long no further shard is looked at."""


class Look(NamedTuple):
    """What a look at a data set has found."""

    sample_bytes: float
    """Mean of an encoded image."""
    done: str
    """In words."""
    missing: Mapping[str, tuple[str, ...]]
    """Classes without an image, by split; of those splits all of whose shards were looked at."""


def one_of_each(store: ReadableStore, manifest: Manifest) -> Look:
    """Read and decode the sample in the middle of each shard, and count classes by its index.

    Raises:
        DataError: a shard, its index or the sample is not what it should be.
        StoreError: one cannot be read.
    """
    begun = time.monotonic()
    readers = {name: ShardReader(store, manifest.split(name)) for name in manifest.splits}
    shards = [(name, number) for name in readers for number in range(len(readers[name].split))]

    def look(item: tuple[str, int]) -> int:
        if time.monotonic() - begun > LOOK_S:
            unseen.add(item[0])
            return 0
        labels[item[0]].update(readers[item[0]].labels(item[1]))
        return _look(readers[item[0]], item[1])

    labels: dict[str, set[int]] = {name: set() for name in readers}
    unseen: set[str] = set()
    with ThreadPoolExecutor(READERS) as threads:
        sizes = [size for size in threads.map(look, shards) if size]
    rest = "" if len(sizes) == len(shards) else f" of {len(shards)}; there was no time for more"
    missing = {
        split: tuple(name for label, name in enumerate(manifest.classes) if label not in there)
        for split, there in labels.items()
        if split not in unseen
    }
    done = f"one sample of each of {len(sizes)} shards{rest} read and decoded"
    return Look(float(np.mean(sizes)), done, missing)


def _look(reader: ShardReader, number: int) -> int:
    """Bytes of the sample in the middle of a shard."""
    row = reader.split[number].num_samples // 2
    (sample,) = reader.read(SampleRange(number, row, 1))
    try:
        images.decode(sample.file())
    except DataError as error:
        name = f"{reader.store.url}/{reader.split[number].name}: sample {row}"
        raise DataError(f"{name}: {error}. Restore the shard, or prepare it anew.") from error
    return len(sample.data)
