"""Samples of a split by ranged reads, each checked against its CRC-32C."""

import tarfile
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet.dataset import manifest
from alexnet.dataset.manifest import Split
from alexnet.dataset.sample_names import member_name
from alexnet.dataset.shard_index import Index, crc32c
from alexnet.errors import AlexNetError, DataError
from alexnet.storage.store import File, ReadableStore, read_again

PIECE_BYTES = 8 * 2**20
"""Largest read that is asked for at once, but for single samples that are larger."""

SHARDS_KEPT = 64
"""Shards whose index a reader keeps in memory; 20 bytes a sample each."""


class SampleRange(NamedTuple):
    """Neighbouring samples of one shard: one ranged read."""

    shard: int
    """Position of the shard in its split."""
    first: int
    """First sample inside the shard."""
    num_samples: int


class Encoded(NamedTuple):
    """A sample as it lies in a shard."""

    sample_id: int
    """Position in its split, in manifest order."""
    label: int
    data: bytes
    problem: str = ""
    """Why the bytes are not those that were written; empty if they are."""

    def file(self) -> bytes:
        """The image file.

        Raises:
            DataError: the bytes are not those that were written.
        """
        if self.problem:
            raise DataError(self.problem)
        return self.data


class Piece(NamedTuple):
    """A part of a run that is read at once."""

    run: SampleRange
    num_bytes: int


class ShardReader:
    """Reads runs of samples. Safe to share between threads; for one process."""

    def __init__(self, store: ReadableStore, split: Split) -> None:
        self.store, self.split = store, split
        self.ends = np.cumsum(split.sizes, dtype=np.int64)
        """(shards,): position in the split behind each shard's last sample."""
        self._opened = lru_cache(maxsize=SHARDS_KEPT)(self._open)

    def pieces(self, run: SampleRange) -> list[Piece]:
        """Cut a run into reads of at most `PIECE_BYTES`; reads the shard's index.

        Raises:
            StoreError, DataError: see `read`.
        """
        rows = self._opened(run.shard)[1].samples[run.first : run.first + run.num_samples]
        ends = rows["offset"] + rows["length"]
        pieces, first = [], 0
        while first < len(rows):
            begin = int(rows["offset"][first])
            # Always one sample at least, however large.
            last = max(first + 1, int(np.searchsorted(ends, begin + PIECE_BYTES, side="right")))
            part = SampleRange(run.shard, run.first + first, last - first)
            pieces.append(Piece(part, int(ends[last - 1]) - begin))
            first = last
        return pieces

    def read(self, run: SampleRange) -> list[Encoded]:
        """The samples of a run by one ranged read; one whose bytes are wrong has a `problem`.

        Raises:
            StoreError: the shard is missing, was replaced, or cannot be reached.
            DataError: the index is not the one that was written.
        """
        file, index = self._opened(run.shard)
        rows = index.samples[run.first : run.first + run.num_samples]
        begin = int(rows[0]["offset"])
        block = file.read(begin, int(rows[-1]["offset"]) + int(rows[-1]["length"]) - begin)
        samples = []
        for number, (offset, length, label, crc) in enumerate(rows.tolist(), run.first):
            data = block[offset - begin : offset - begin + length]
            problem = ""
            if crc32c(data) != crc:
                data, problem = _again(file, offset, length, crc)
            samples.append(Encoded(self._base(run.shard) + number, label, data, problem))
        return samples

    def labels(self, shard: int) -> set[int]:
        """The classes that a shard has images of; reads its index.

        Raises:
            StoreError, DataError: see `read`.
        """
        return set(self._opened(shard)[1].samples["label"].tolist())

    def sample(self, sample_id: int) -> Encoded:
        """One sample by its position in the split.

        Raises:
            StoreError, DataError: see `read`.
        """
        shard, row = self._place(sample_id)
        (sample,) = self.read(SampleRange(shard, row, 1))
        return sample

    def name_of(self, sample_id: int) -> str:
        """Shard and name of a sample, for messages: `train-000002.tar: n01440764_10026.jpg`."""
        shard, row = self._place(sample_id)
        try:
            file, index = self._opened(shard)
            offset = int(index.samples[row]["offset"]) - tarfile.BLOCKSIZE
            name = member_name(file.read(offset, tarfile.BLOCKSIZE))
        except AlexNetError:
            name = ""
        return f"{self.split[shard].name}: {name or f'sample {row}'}"

    def _place(self, sample_id: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self.ends, sample_id, side="right"))
        return shard, sample_id - self._base(shard)

    def _base(self, shard: int) -> int:
        return int(self.ends[shard] - self.split.sizes[shard])

    def _open(self, number: int) -> tuple[File, Index]:
        shard = self.split[number]
        index = manifest.read_index(self.store, shard)
        file = self.store.open(shard.name, num_bytes=index.tar_bytes, sha256=index.tar_sha256)
        return file, index


def _again(file: File, offset: int, length: int, crc: int) -> tuple[bytes, str]:
    """The bytes of a sample that were wrong, or why they still are."""

    def read() -> bytes:
        data = file.read(offset, length)
        if crc32c(data) != crc:
            raise DataError(f"CRC-32C of the {length} bytes at {offset} is not the index's")
        return data

    try:
        return read_again(read), ""
    except DataError as error:
        return b"", str(error)


def ranges_in_order(ends: NDArray[np.int64], samples: range) -> list[SampleRange]:
    """A range of the split's samples, in manifest order, as runs inside shards.

    Args:
        ends: (shards,), the position behind each shard's last sample.
        samples: inside the split.
    """
    runs = []
    at = samples.start
    shard = int(np.searchsorted(ends, at, side="right"))
    while at < samples.stop:
        base = int(ends[shard - 1]) if shard else 0
        last = min(samples.stop, int(ends[shard]))
        runs.append(SampleRange(shard, at - base, last - at))
        at, shard = last, shard + 1
    return runs
