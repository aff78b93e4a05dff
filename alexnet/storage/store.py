"""The interface of a store of files (a Protocol): what the pipeline needs of a folder or S3.

`alexnet/adapters/object_store/` has the real ones, for local folders and for S3.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from alexnet.errors import DataError

T = TypeVar("T")

READS = 8
"""How often altered bytes are read before they count as lying altered in the store. Where a fifth
of all answers is spoilt on the way, 8 in a row are in 1 of 400,000 cases."""


class Found(NamedTuple):
    """Something that lies in a store."""

    name: str
    problem: str = ""
    """Why it is no file that can be read, such as `a link without its target`."""
    version: str = ""
    """Of a file, as `Store.version` has it."""


NO_TARGET = "a link without its target"
LISTED = "a link to a folder that is listed already"
LOOP = "a link back to a folder around it"
EMPTY = "an empty folder"
NO_FILE = "neither a file nor a folder"
ODD_NAME = "a name that leads out of its folder"
FOLDER_NAME = "a name of a folder, which has bytes itself"


class Unmet(NamedTuple):
    """A condition of requests that a store does not hold to."""

    condition: str
    """`CREATE`, or another one, in words."""
    how: str
    """`ignored` or `refused`, and by what."""
    lost: str
    """What goes wrong without it, in words; empty: nothing."""


CREATE = "a write only where nothing is (PUT with If-None-Match)"
"""What `Store.create` stands on."""

WITHOUT_CREATE = "leases and decisions need it: two commands could work on one run"


class File(Protocol):
    """A file that must stay as it was when it was opened. Safe to share between threads."""

    def read(self, offset: int, length: int) -> bytes:
        """Bytes `offset` to `offset + length`.

        Raises:
            StoreError: it was deleted, replaced or cut since, or cannot be reached.
        """


class ReadableStore(Protocol):
    """What training asks of a store, which may be a cache of one.

    Instances can be pickled and used in another process.
    """

    @property
    def url(self) -> str:
        """Where it is: an absolute path, or `s3://bucket/prefix`."""

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes `offset` to `offset + length` of a file, or to its end.

        Raises:
            StoreError: the file is missing, shorter than asked for, or cannot be reached.
        """

    def open(self, name: str, *, num_bytes: int, sha256: bytes) -> File:
        """A file to be read in pieces, all of which are of one version.

        Args:
            name: of the file.
            num_bytes: that it must have; checked at the first read.
            sha256: digest of its content, 32 bytes, by which it may be kept nearer.

        Raises:
            StoreError: it is missing or cannot be reached.
        """


class Store(ReadableStore, Protocol):
    """A flat folder of named files."""

    def num_bytes(self, name: str) -> int:
        """Size of a file.

        Raises:
            StoreError: it is missing or cannot be reached.
        """

    def version(self, name: str) -> str:
        """Another text for a file that was written anew, such as its ETag.

        Raises:
            StoreError: it is missing or cannot be reached.
        """

    def write(self, name: str, data: bytes) -> None:
        """Put a small file in place whole: a reader sees the old one or the new one.

        Raises:
            StoreError: it cannot be written.
        """

    def create(self, name: str, data: bytes) -> bool:
        """Put a small file in place if there is none of that name; of several at once, one does.

        Returns:
            Whether it was put.

        Raises:
            StoreError: it cannot be written.
        """

    def upload(self, path: Path, name: str) -> None:
        """Put a local file in place whole, in bounded memory.

        Raises:
            StoreError: it cannot be written.
        """

    def exists(self, name: str) -> bool:
        """Whether the file is there.

        Raises:
            StoreError: the store cannot be reached.
        """

    def scan(self) -> Sequence[Found]:
        """All that lies here, in order of the names; nothing where there is no folder yet.

        Links are followed, but to each folder once, so that loops end.

        Raises:
            StoreError: the store cannot be reached.
        """

    def list(self) -> list[str]:
        """Names of all files, sorted; none where there is no folder yet.

        Raises:
            StoreError: the store cannot be reached.
        """

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none.

        Raises:
            StoreError: it cannot be removed.
        """

    def check_writable(self) -> None:
        """Write and remove a probe.

        Raises:
            StoreError: this identity may not write or not remove here, or there is no room.
        """

    def unmet_conditions(self) -> tuple[Unmet, ...]:
        """Try each condition of requests with a probe that is removed; those that do not hold.

        Raises:
            StoreError: it cannot be tried.
        """


def read_verified(store: ReadableStore, name: str, sha256: bytes) -> bytes:
    """A whole file whose digest is known.

    Raises:
        StoreError: it cannot be read.
        DataError: its digest is another one each time, so it lies altered in the store.
    """

    def read() -> bytes:
        data = store.read(name)
        if hashlib.sha256(data).digest() == sha256:
            return data
        raise DataError(
            f"{store.url}/{name}: SHA-256 is not the manifest's, so the file was changed after the "
            "data set was written. Restore it, or prepare the data anew."
        )

    return read_again(read)


def read_again(read: Callable[[], T]) -> T:
    """What `read` gives, once it does not find the bytes altered on the way.

    Args:
        read: raises `DataError` if they are altered; called at most `READS` times.

    Raises:
        DataError: they are each time.
    """
    for _ in range(READS - 1):
        with suppress(DataError):
            return read()
    return read()
