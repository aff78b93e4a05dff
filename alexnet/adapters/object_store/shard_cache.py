"""A cache of whole shards on a node's disk, shared by all of its processes.

Files are named by the SHA-256 of their content and appear only once that was verified, so neither
another data set, nor a killed writer, nor two writers at once can put wrong bytes there. What was
used longest ago is deleted first. A cache that cannot be used costs time only: the store is read.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from alexnet.adapters.object_store.checks import whole
from alexnet.dataset.shard_reader import PIECE_BYTES
from alexnet.errors import DataError
from alexnet.storage.store import File, ReadableStore, read_again


@dataclass(frozen=True, slots=True)
class CachedStore:
    """A store whose shards are kept in a folder once they were read."""

    store: ReadableStore
    folder: Path
    max_bytes: int
    """Of all shards in the folder; larger ones are not kept."""

    @property
    def url(self) -> str:
        """Of the store."""
        return self.store.url

    def open(self, name: str, *, num_bytes: int, sha256: bytes) -> File:
        """See `Store.open`."""
        file = self.store.open(name, num_bytes=num_bytes, sha256=sha256)
        if num_bytes > self.max_bytes:
            return file
        return CachedFile(self, file, name, num_bytes, sha256)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Store.read`."""
        return self.store.read(name, offset, length)


@dataclass(frozen=True, slots=True)
class CachedFile:
    """See `alexnet.storage.store.File`."""

    cache: CachedStore
    file: File
    name: str
    num_bytes: int
    sha256: bytes

    def read(self, offset: int, length: int) -> bytes:
        """See `File.read`."""
        path = self.cache.folder / f"{self.sha256.hex()}.tar"
        try:
            if not path.exists():
                self._fetch(path)
            with path.open("rb") as cached:
                os.utime(path)  # used just now
                cached.seek(offset)
                data = cached.read(length)
        except OSError:  # a full disk, or deleted by another process since
            data = self.file.read(offset, length)
        return whole(data, length, f"{self.cache.url}/{self.name}", offset)

    def _fetch(self, path: Path) -> None:
        """Put the shard in place; one process of the node does, the others wait for it."""
        self.cache.folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with _locked(path):
            if path.exists():
                return
            _make_room(self.cache.folder, self.cache.max_bytes - self.num_bytes)
            try:
                read_again(lambda: self._copy(partial))
            except DataError:
                partial.unlink()
                raise
            partial.replace(path)

    def _copy(self, partial: Path) -> None:
        """Write the shard to `partial`, and compare its digest."""
        digest = hashlib.sha256()
        with partial.open("wb") as out:
            for offset in range(0, self.num_bytes, PIECE_BYTES):
                data = self.file.read(offset, min(PIECE_BYTES, self.num_bytes - offset))
                digest.update(data)
                out.write(data)
        if digest.digest() != self.sha256:
            raise DataError(
                f"{self.cache.url}/{self.name}: SHA-256 is not the index's, so the shard was "
                "changed after the data set was written. Restore it, or prepare the data anew."
            )


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock for a shard's file; it ends with the process.

    256 locks serve all shards, so that they need not be deleted.

    Raises:
        BlockingIOError: another process holds it, and `wait` is False.
    """
    with (path.parent / f"{path.name[:2]}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def _make_room(folder: Path, max_bytes: int) -> None:
    """Delete what was used longest ago until the shards have at most so many bytes."""
    for partial in folder.glob("*.partial"):
        # Its writer was killed if nobody holds the lock; our own is about to be written again.
        with suppress(BlockingIOError, FileNotFoundError), _locked(partial, wait=False):
            partial.unlink()
    shards = []
    for path in folder.glob("*.tar"):
        with suppress(FileNotFoundError):  # deleted by another process
            found = path.stat()
            shards.append((found.st_mtime_ns, found.st_size, path))
    total = sum(size for _, size, _ in shards)
    for _, size, path in sorted(shards):
        if total <= max_bytes:
            return
        path.unlink(missing_ok=True)
        total -= size
