"""The members of an uncompressed tar, without unpacking it; also of a tar inside a tar.

`tarfile` ends without an error where a tar is cut between two members. A tar is whole only with the
two blocks of zeros at its end (POSIX.1-1988, section 10.1.1), which are asked for here.
"""

import io
import posixpath
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from alexnet.errors import DataError
from alexnet.storage.store import EMPTY, LISTED, NO_FILE, NO_TARGET, ODD_NAME, Store

BUFFER_BYTES = 2**20
"""Read at once. Headers of small files lie close together; those of large ones are seeked to."""

COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""How gzip, bzip2, xz and zstd begin."""

LINK = "a link"
SPARSE = "a sparse file, which has no bytes in one piece"


class Member(NamedTuple):
    """A file inside a tar; or something else."""

    name: str
    offset: int
    """Of its first byte, in the file of the store."""
    length: int
    problem: str = ""
    """Why it is no file that can be read, as `Found.problem` has it; a folder counts as empty."""


def problem(member: tarfile.TarInfo) -> str:
    """Why a member is not a file whose bytes lie in one piece; empty if it is one."""
    if member.isfile():
        return SPARSE if member.issparse() else ""
    if member.isdir():
        return EMPTY
    return LINK if member.islnk() or member.issym() else NO_FILE


def path_of(name: str) -> str:
    """Where a member's name leads to, from the folder that the tar is unpacked in."""
    path = posixpath.normpath(name).lstrip("/")
    return "" if path == "." else path


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
            DataError: for any error of `tarfile`, which of damaged headers also raises others'.
        """
        try:
            yield
        except (tarfile.TarError, ValueError, IndexError, RecursionError) as error:
            if self.length and self.read(0, min(6, self.length)).startswith(COMPRESSED):
                raise DataError(f"{self}: a compressed tar. Decompress it first.") from error
            if END in str(error):
                raise self.cut() from error
            raise DataError(f"{self}: not an uncompressed tar: {error}.") from error

    def check_end(self, end: int) -> None:
        """Ask for blocks of zeros behind the last member, which ends at `end` in the tar.

        Raises:
            DataError: there are not two of them, or something else follows.
        """
        wanted = 2 * tarfile.BLOCKSIZE
        if self.length - end < wanted or self.read(end, wanted).strip(b"\0"):
            raise self.cut()
        for begin in range(end + wanted, self.length, BUFFER_BYTES):
            piece = self.read(begin, min(BUFFER_BYTES, self.length - begin))
            if piece.strip(b"\0"):
                raise DataError(
                    f"{self}: more follows the end of the tar, behind byte {begin}, as when two "
                    "are put together with cat. Unpack it with tar --ignore-zeros, and name the "
                    "folder."
                )

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

    def read(self, count: int = -1) -> bytes:
        """The next bytes, at most `count`: a damaged header asks for more than memory holds."""
        left = max(0, self._extent.length - self._at)
        return super().read(left if count < 0 else min(count, left))

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


def members(store: Store, name: str, offset: int = 0, length: int | None = None) -> list[Member]:
    """All members of a tar in its order, links as what they lead to once it is unpacked.

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
    found: list[Member] = []
    links: dict[int, _Link] = {}
    with (
        extent.explained(),
        tarfile.open(fileobj=Window(extent), mode="r:", encoding="utf-8") as tar,
    ):
        for member in headers(tar, total):
            why = problem(member)
            if why != EMPTY and path_of(member.name).split("/")[0] == "..":
                why = ODD_NAME
            if why == LINK:
                links[len(found)] = _Link.of(member)
            found.append(Member(member.name, offset + member.offset_data, member.size, why))
        end = tar.offset
    extent.check_end(end)
    return _resolved(found, links) if links else found


END = "unexpected end of data"
"""What `tarfile` says of a tar that is cut."""


def headers(tar: tarfile.TarFile, length: int) -> Iterator[tarfile.TarInfo]:
    """The members of an open tar of `length` bytes; it keeps none of them.

    Raises:
        TarError: it is damaged.
    """
    for member in tar:
        if member.size < 0:  # `tarfile` would go back, and find the same members for ever
            raise tarfile.ReadError(f"a member of {member.size} bytes")
        if tar.offset > length:  # it would read on to there, which can be far
            raise tarfile.ReadError(END)
        yield member
        tar.members.clear()  # type: ignore[attr-defined]


class _Link(NamedTuple):
    target: str
    """Path from the folder that the tar is unpacked in."""
    is_hard: bool

    @classmethod
    def of(cls, member: tarfile.TarInfo) -> "_Link":
        if member.islnk():
            return cls(path_of(member.linkname), True)
        path = posixpath.join(posixpath.dirname(path_of(member.name)), member.linkname)
        # A symbolic link to `/a` leads out of the folder, while a member `/a` is unpacked in it.
        return cls(path if path.startswith("/") else path_of(path), False)


def _resolved(found: list[Member], links: dict[int, _Link]) -> list[Member]:
    """The members, those in `links` as what they lead to.

    A hard link is one more name of what lies at its target by then, and stays so if something else
    is put there later; a symbolic one leads to what lies there in the end.
    """
    there: dict[str, int] = {}
    for number, member in enumerate(found):
        link = links.get(number)
        if link and link.is_hard and link.target in there:
            first = there[link.target]
            found[number] = found[first]._replace(name=member.name)
            if first in links:
                links[number] = links[first]
            else:
                del links[number]
        there[path_of(member.name)] = number
    folders = {"", *(folder for path in there for folder in _around(path))}
    return [
        _end(number, found, links, there, folders)._replace(name=member.name)
        if number in links
        else member
        for number, member in enumerate(found)
    ]


def _end(
    at: int, found: list[Member], links: dict[int, _Link], there: dict[str, int], folders: set[str]
) -> Member:
    """Where a chain of links ends."""
    passed = set()
    while at in links:
        target = links[at].target
        if not links[at].is_hard and target not in there and target in folders:
            return Member(target, 0, 0, LISTED)
        if links[at].is_hard or target not in there or at in passed:
            return Member(target, 0, 0, NO_TARGET)
        passed.add(at)
        at = there[target]
    # What is in a folder is listed where it lies.
    return found[at]._replace(problem=LISTED) if found[at].problem == EMPTY else found[at]


def _around(path: str) -> Iterator[str]:
    """The folders that a path lies in."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
