"""The members of an uncompressed tar, without unpacking it; also of a tar inside a tar.

`tarfile` ends without an error where a tar is cut between two members. A tar is whole only with the
two blocks of zeros at its end (POSIX.1-1988, section 10.1.1), which are asked for here.
"""

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
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


class Window(io.RawIOBase):
    """A part of a file in a store as a seekable file."""

    def __init__(self, store: Store, name: str, offset: int, length: int) -> None:
        super().__init__()
        self._store, self._name = store, name
        self._begin, self._length = offset, length
        self._at, self._buffer_at, self._buffer = 0, 0, b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Position in the window."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; nothing is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        """Fill `target` as far as the window goes."""
        data = self._next(len(target))
        target[: len(data)] = data
        return len(data)

    def _next(self, count: int) -> bytes:
        count = max(0, min(count, self._length - self._at))
        inside = self._at - self._buffer_at
        if not 0 <= inside <= len(self._buffer) - count:
            wanted = min(max(count, BUFFER_BYTES), self._length - self._at)
            self._buffer = self._store.read(self._name, self._begin + self._at, wanted)
            self._buffer_at, inside = self._at, 0
        self._at += count
        return self._buffer[inside : inside + count]


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
    window = Window(store, name, offset, total)
    with (
        explained(store, name, offset, total),
        tarfile.open(fileobj=window, mode="r:") as tar,
    ):
        for member in tar:
            if member.offset_data + member.size > total:
                raise _cut(store, name, offset)
            if member.isfile():
                yield Member(member.name, offset + member.offset_data, member.size)
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
        end = tar.offset
    check_end(store, name, offset, total, end)


@contextmanager
def explained(store: Store, name: str, offset: int, total: int) -> Iterator[None]:
    """Say of what `tarfile` does not read why that is.

    Args:
        store: that holds the file.
        name: of the file.
        offset: where the tar begins in it.
        total: length of the tar.

    Raises:
        DataError: for any error of `tarfile`.
    """
    try:
        yield
    except tarfile.TarError as error:
        where = _where(store, name, offset)
        if total and store.read(name, offset, min(6, total)).startswith(COMPRESSED):
            raise DataError(f"{where}: a compressed tar. Decompress it first.") from error
        if "unexpected end" in str(error):
            raise _cut(store, name, offset) from error
        raise DataError(f"{where}: not an uncompressed tar: {error}.") from error


def check_end(store: Store, name: str, offset: int, total: int, end: int) -> None:
    """Ask for the two blocks of zeros behind the last member.

    Args:
        store: that holds the file.
        name: of the file.
        offset: where the tar begins in it.
        total: length of the tar.
        end: of its last member, in the tar.

    Raises:
        DataError: they are not there.
    """
    wanted = 2 * tarfile.BLOCKSIZE
    if total - end < wanted or store.read(name, offset + end, wanted).strip(b"\0"):
        raise _cut(store, name, offset)


def _where(store: Store, name: str, offset: int) -> str:
    return f"{store.url}/{name}" + (f" at byte {offset}" if offset else "")


def _cut(store: Store, name: str, offset: int) -> DataError:
    where = _where(store, name, offset)
    return DataError(f"{where}: the tar is cut: it ends too early. Copy it again.")
