"""Names of samples for messages, and packed ids of their positions."""

import re
import tarfile

from alexnet.dataset import manifest
from alexnet.dataset.manifest import Shard
from alexnet.storage.store import Store

ROW_BITS = 32
"""Low bits of a packed id: the row inside the shard."""


def packed_id(shard: int, row: int) -> int:
    """A shard's number and a row of its index as one integer."""
    return (shard << ROW_BITS) + row


def unpacked(number: int) -> tuple[int, int]:
    """Shard and row of `packed_id`."""
    return number >> ROW_BITS, number & (2**ROW_BITS - 1)


def sample_name(store: Store, shard: Shard, row: int) -> str:
    """Shard and member of an image: `train-000002.tar: n01440764_10026.jpg`.

    Raises:
        StoreError: it cannot be read.
        DataError: the index is not the one that was written.
    """
    offset = int(manifest.read_index(store, shard).samples[row]["offset"]) - tarfile.BLOCKSIZE
    return f"{shard.name}: {member_name(store.read(shard.name, offset, tarfile.BLOCKSIZE))}"


def member_name(header: bytes) -> str:
    """Name in the block in front of a member's bytes, its beginning if it is long; else empty."""
    try:
        return printable(tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").name)
    except tarfile.HeaderError:
        return ""


def printable(name: str) -> str:
    r"""The name in one line, with an escape, such as `caf\xe9.jpg`, for bytes that are no UTF-8.

    Python has such bytes as surrogates (PEP 383). Characters that steer a terminal or end a line
    are escaped too: messages are one line, and names may come from anybody.
    """
    return _ESCAPED.sub(lambda found: _escape(found[0]), name)


_ESCAPED = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _escape(character: str) -> str:
    byte = ord(character) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else ascii(character)[1:-1]
