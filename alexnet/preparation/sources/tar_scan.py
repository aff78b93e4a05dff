"""The members of an uncompressed tar, without unpacking it; also of a tar inside a tar.

`tarfile` ends without an error where a tar is cut between two members. A tar is whole only with the
two blocks of zeros at its end (POSIX.1-1988, section 10.1.1), which are asked for here.
"""

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from alexnet.errors import DataError
from alexnet.storage.store import Store

BUFFER_BYTES = 2**20
"""Read at once. Headers of small files lie close together; those of large ones are seeked to."""

COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""How gzip, bzip2, xz and zstd begin."""


class Member(NamedTuple):
    """A regular file inside a tar."""

    name: str
    offset: int
    """Of its first byte, in the file of the store."""
    length: int


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a tar lies: a whole file of a store, or a part of one."""

    store: Store
    name: str
    """Of the file."""
    offset: int
    """Of the tar's first byte in the file."""
    length: int

    def __str__(self) -> str:
        """What messages call it."""
        return f"{self.store.url}/{self.name}" + (f" at byte {self.offset}" if self.offset else "")

    def read(self, offset: int, count: int) -> bytes:
        """Bytes `offset` to `offset + count` of the tar, which must be there.

        Raises:
            StoreError: they cannot be read.
        """
        return self.store.read(self.name, self.offset + offset, count)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say of what `tarfile` does not read why that is.

        Raises:
            DataError: for any error of `tarfile`.
        """
        try:
            yield
        except tarfile.TarError as error:
            if self.length and self.read(0, min(6, self.length)).startswith(COMPRESSED):
                raise DataError(f"{self}: a compressed tar. Decompress it first.") from error
            if "unexpected end" in str(error):
                raise self.cut() from error
            raise DataError(f"{self}: not an uncompressed tar: {error}.") from error

    def check_end(self, end: int) -> None:
        """Ask for the two blocks of zeros behind the last member, which ends at `end` in the tar.

        Raises:
            DataError: they are not there.
        """
        wanted = 2 * tarfile.BLOCKSIZE
        if self.length - end < wanted or self.read(end, wanted).strip(b"\0"):
            raise self.cut()

    def cut(self) -> DataError:
        """The error of a tar that is not whole."""
        return DataError(f"{self}: the tar is cut: it ends too early. Copy it again.")


class Window(io.RawIOBase):
    """A tar as a seekable file."""

    def __init__(self, extent: Extent) -> None:
        super().__init__()
        self._extent, self._at, self._buffer_at, self._buffer = extent, 0, 0, b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Position in the tar."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; nothing is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._extent.length}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        """Fill `target` as far as the tar goes."""
        left = self._extent.length - self._at
        count = max(0, min(len(target), left))
        inside = self._at - self._buffer_at
        if count and not 0 <= inside <= len(self._buffer) - count:
            self._buffer = self._extent.read(self._at, min(max(count, BUFFER_BYTES), left))
            self._buffer_at, inside = self._at, 0
        self._at += count
        target[:count] = self._buffer[inside : inside + count]
        return count


def members(
    store: Store, name: str, offset: int = 0, length: int | None = None
) -> Iterator[Member]:
    """Regular files of a tar, in its order.

    Args:
        store: that holds the file.
        name: of the file.
        offset: where the tar begins in it.
        length: of the tar; None: to the end of the file.

    Raises:
        StoreError: it cannot be read.
        DataError: it is not an uncompressed tar, or is cut.
    """
    total = store.num_bytes(name) - offset if length is None else length
    extent = Extent(store, name, offset, total)
    with extent.explained(), tarfile.open(fileobj=Window(extent), mode="r:") as tar:
        for member in tar:
            if member.offset_data + member.size > total:
                raise extent.cut()
            if member.isfile():
                yield Member(member.name, offset + member.offset_data, member.size)
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
        end = tar.offset
    extent.check_end(end)
