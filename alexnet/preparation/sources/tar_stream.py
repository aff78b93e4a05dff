"""The members of a tar with their content, in one sequential pass that also takes its digest."""

import hashlib
import tarfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from alexnet.dataset.shard_reader import PIECE_BYTES
from alexnet.preparation.sources.tar_scan import END, Extent, headers, problem
from alexnet.storage.store import EMPTY, Store

SLICE_BYTES = 2**16
"""Of a piece, given to `tarfile` at once: it copies what is left of a slice with every read."""

MAX_MEMBER_BYTES = 2**28
"""Content of larger members is not read into memory: no image of `images.MAX_PIXELS` needs it."""


class Content(NamedTuple):
    """A file inside a tar; or something else, but no folder."""

    name: str
    offset: int
    """Of its first byte in the tar."""
    length: int
    data: bytes | None
    """None if it is larger than `MAX_MEMBER_BYTES`, or has a problem."""
    problem: str = ""
    """Why it is no file whose bytes lie in one piece, as `tar_scan.problem` has it."""


class Walk:
    """One pass over a tar. When it has ended, `sha256` is the digest of the whole file."""

    def __init__(self, store: Store, name: str) -> None:
        self.num_bytes = store.num_bytes(name)
        self._extent = Extent(store, name, 0, self.num_bytes)
        self.where = str(self._extent)
        self.sha256 = b""
        self._hash, self._at = hashlib.sha256(), 0
        self._piece, self._used = b"", 0

    def __iter__(self) -> Iterator[Content]:
        """Members in the order of the tar; without the folders.

        Raises:
            StoreError: it cannot be read.
            DataError: it is not an uncompressed tar, or is cut.
        """
        with (
            self._extent.explained(),
            tarfile.open(  # type: ignore[call-overload]
                fileobj=self, mode="r|", bufsize=SLICE_BYTES, encoding="utf-8"
            ) as tar,
        ):
            for member in headers(tar, self.num_bytes):
                why = problem(member)
                if why != EMPTY:
                    small = member.size <= MAX_MEMBER_BYTES and not why
                    data = _content(tar.fileobj, member) if small else None
                    yield Content(member.name, member.offset_data, member.size, data, why)
            end = tar.offset
        self._extent.check_end(end)
        while self.read(PIECE_BYTES):
            pass
        self.sha256 = self._hash.digest()

    def read(self, count: int) -> bytes:
        """The next bytes of the file, at most `count`, none at its end; what `tarfile` asks for."""
        if self._used == len(self._piece):
            length = min(PIECE_BYTES, self.num_bytes - self._at)
            self._piece = self._extent.read(self._at, length) if length else b""
            self._at += length
            self._used = 0
            self._hash.update(self._piece)
        data = self._piece[self._used : self._used + count]
        self._used += len(data)
        return data


def _content(stream: Any, member: tarfile.TarInfo) -> bytes:
    """What `TarFile.extractfile` reads, without the two file objects that it makes for each."""
    stream.seek(member.offset_data)
    data: bytes = stream.read(member.size)
    if len(data) != member.size:
        raise tarfile.ReadError(END)
    return data
