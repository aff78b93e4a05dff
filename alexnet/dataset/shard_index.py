"""The index of a shard: where each sample lies in the tar, and what its bytes must be.

With it any run of samples is one ranged read, a resume replays nothing, and an altered byte cannot
pass unseen. On disk it is a NumPy file; `docs/data-format.md` describes it.
"""

import io
from typing import NamedTuple

import google_crc32c
import numpy as np
from numpy.typing import NDArray

SAMPLE = np.dtype([("offset", "<u8"), ("length", "<u4"), ("label", "<u4"), ("crc32c", "<u4")])
"""The image's first byte inside the tar, its bytes, its class, its CRC-32C."""


class Index(NamedTuple):
    """What an index file says."""

    tar_bytes: int
    tar_sha256: bytes
    """Digest of the whole shard, 32 bytes."""
    samples: NDArray[np.void]
    """(number of samples,) of dtype `SAMPLE`, in the order of the tar."""


def name_of(shard: str) -> str:
    """File name of a shard's index: `train-000000.tar` -> `train-000000.index.npy`."""
    return shard.removesuffix(".tar") + ".index.npy"


def to_bytes(index: Index) -> bytes:
    """The index file; the same index gives the same bytes."""
    record = np.zeros((), _dtype(len(index.samples)))
    record["tar_bytes"] = index.tar_bytes
    record["tar_sha256"] = np.frombuffer(index.tar_sha256, np.uint8)
    record["samples"] = index.samples
    return npy_bytes(record)


def parse(data: bytes, num_samples: int) -> Index:
    """Read an index file, whose bytes a digest vouches for.

    Raises:
        ValueError: it does not have the length of an index of so many samples.
    """
    record = from_npy(data, _dtype(num_samples))
    return Index(
        int(record["tar_bytes"]), record["tar_sha256"].tobytes(), np.asarray(record["samples"])
    )


def _dtype(num_samples: int) -> np.dtype[np.void]:
    fields = [
        ("tar_bytes", "<u8"),
        ("tar_sha256", "u1", (32,)),
        ("samples", SAMPLE, (num_samples,)),
    ]
    return np.dtype(fields)


def npy_bytes(record: NDArray[np.void]) -> bytes:
    """A record of columns as the bytes of a `.npy` file."""
    buffer = io.BytesIO()
    np.save(buffer, record, allow_pickle=False)
    return buffer.getvalue()


def from_npy(data: bytes, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """The record in a `.npy` file that is known to have this dtype; shares memory with `data`.

    Not `numpy.load`: that parses the header as Python source, which now and then fails where
    several threads do it at once (CPython 3.11, issue 106905). The format's version 1.0 has the
    header's length in bytes 8 and 9; what the header says, our own version says too.

    Raises:
        ValueError: the file has another length.
    """
    header_bytes = 10 + int.from_bytes(data[8:10], "little")
    if len(data) != header_bytes + dtype.itemsize:
        raise ValueError(f"{len(data)} bytes instead of {header_bytes + dtype.itemsize}")
    return np.frombuffer(data, dtype, offset=header_bytes).reshape(())


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of `data`."""
    return int(google_crc32c.value(data))
