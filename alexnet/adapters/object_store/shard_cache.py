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
from alexnet.storage.store import READS, File, Store


@dataclass(frozen=True, slots=True)
class CachedStore:
    """A store whose shards are kept in a folder once they were read."""

    store: Store
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

    def num_bytes(self, name: str) -> int:
        """See `Store.num_bytes`."""
        return self.store.num_bytes(name)

    def write(self, name: str, data: bytes) -> None:
        """See `Store.write`."""
        self.store.write(name, data)

    def create(self, name: str, data: bytes) -> bool:
        """See `Store.create`."""
        return self.store.create(name, data)

    def upload(self, path: Path, name: str) -> None:
        """See `Store.upload`."""
        self.store.upload(path, name)

    def exists(self, name: str) -> bool:
        """See `Store.exists`."""
        return self.store.exists(name)

    def list(self) -> list[str]:
        """See `Store.list`."""
        return self.store.list()

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        self.store.delete(name)

    def check_writable(self) -> None:
        """See `Store.check_writable`."""
        self.store.check_writable()


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
            for _ in range(READS):
                if self._copy(partial) == self.sha256:
                    partial.replace(path)
                    return
            partial.unlink()
        raise DataError(
            f"{self.cache.url}/{self.name}: SHA-256 is not the index's, so the shard was changed "
            "after the data set was written. Restore it, or prepare the data anew."
        )

    def _copy(self, partial: Path) -> bytes:
        """Digest of what was written to `partial`."""
        digest = hashlib.sha256()
        with partial.open("wb") as out:
            for offset in range(0, self.num_bytes, PIECE_BYTES):
                data = self.file.read(offset, min(PIECE_BYTES, self.num_bytes - offset))
                digest.update(data)
                out.write(data)
        return digest.digest()


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
        # Its writer was killed if nobody holds the lock; our own is about to be written anew.
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
