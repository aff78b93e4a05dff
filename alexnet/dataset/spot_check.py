"""Reads one sample of each shard: a check of the data set within seconds."""

import time
from concurrent.futures import ThreadPoolExecutor

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


def one_of_each(store: ReadableStore, manifest: Manifest) -> tuple[float, str]:
    """Read and decode the sample in the middle of each shard.

    Returns:
        Mean bytes of an encoded image, and what was done, in words.

    Raises:
        DataError: a shard, its index or the sample is not what it should be.
        StoreError: one cannot be read.
    """
    begun = time.monotonic()
    readers = [ShardReader(store, manifest.split(name)) for name in manifest.splits]
    shards = [(reader, number) for reader in readers for number in range(len(reader.split))]

    def look(item: tuple[ShardReader, int]) -> int:
        return 0 if time.monotonic() - begun > LOOK_S else _look(*item)

    with ThreadPoolExecutor(READERS) as threads:
        sizes = [size for size in threads.map(look, shards) if size]
    rest = "" if len(sizes) == len(shards) else f" of {len(shards)}; there was no time for more"
    done = f"one sample of each of {len(sizes)} shards{rest} read and decoded"
    return float(np.mean(sizes)), done


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
