"""A folder on this machine, or on a file system that all nodes mount."""

import errno
import os
import secrets
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alexnet.adapters.object_store.checks import (
    REPLACED,
    checked_name,
    other_size,
    probe_name,
    whole,
)
from alexnet.errors import StoreError
from alexnet.storage.store import (
    CREATE,
    EMPTY,
    LISTED,
    LOOP,
    NO_FILE,
    NO_TARGET,
    WITHOUT_CREATE,
    Found,
    Unmet,
)

PARTIAL = ".partial"
"""Ends the name of a file that is being written."""


@dataclass(frozen=True, slots=True)
class LocalStore:
    """A folder on this machine, or on a file system that all nodes mount."""

    url: str
    """Absolute path."""

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Store.read`."""
        path = self._path(name)
        with local_errors(path), path.open("rb") as file:
            file.seek(offset)
            data = file.read() if length is None else file.read(length)
        return whole(data, length, str(path), offset)

    def num_bytes(self, name: str) -> int:
        """See `Store.num_bytes`."""
        path = self._path(name)
        with local_errors(path):
            return path.stat().st_size

    def version(self, name: str) -> str:
        """See `Store.version`."""
        path = self._path(name)
        with local_errors(path):
            return _version_text(path.stat())

    def open(self, name: str, *, num_bytes: int, sha256: bytes) -> "LocalFile":
        """See `Store.open`."""
        del sha256
        path = self._path(name)
        with local_errors(path):
            found = path.stat()
        if found.st_size != num_bytes:
            raise other_size(str(path), found.st_size, num_bytes)
        return LocalFile(path, _version(found))

    def write(self, name: str, data: bytes) -> None:
        """See `Store.write`."""
        self._put(name, lambda partial: partial.write_bytes(data))

    def create(self, name: str, data: bytes) -> bool:
        """See `Store.create`."""
        path = self._path(name)
        try:
            self._put(name, lambda partial: partial.write_bytes(data), _place_new)
        except StoreError as error:
            if isinstance(error.__cause__, FileExistsError) and path.is_file():
                return False
            raise
        return True

    def upload(self, path: Path, name: str) -> None:
        """See `Store.upload`."""
        with local_errors(path):
            path.open("rb").close()
        self._put(name, lambda partial: shutil.copyfile(path, partial))

    def exists(self, name: str) -> bool:
        """See `Store.exists`."""
        path = self._path(name)
        with local_errors(path):
            return path.is_file()

    def list(self) -> list[str]:
        """See `Store.list`."""
        files = [found.name for found in self._scanned(_is_file) if not found.problem]
        return [name for name in files if not name.endswith(PARTIAL)]

    def scan(self) -> Sequence[Found]:
        """See `Store.scan`."""
        return self._scanned(_version_of)

    def _scanned(self, version_of: "Callable[[os.DirEntry[str]], str]") -> Sequence[Found]:
        root = Path(self.url)
        with local_errors(root):
            if root.exists() and not root.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "", self.url)
            return sorted(_scan(root, version_of)) if root.exists() else []

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        path = self._path(name)
        with local_errors(path):
            path.unlink(missing_ok=True)
        for parent in path.parents:  # folders that nothing is in any more; S3 has none either
            if parent == Path(self.url) or not parent.exists() or any(parent.iterdir()):
                return
            parent.rmdir()

    def check_writable(self) -> None:
        """See `Store.check_writable`."""
        probe = self._path(probe_name())
        with local_errors(Path(self.url)):
            probe.parent.mkdir(parents=True, exist_ok=True)
            try:
                probe.write_bytes(b"probe")
            finally:
                probe.unlink(missing_ok=True)

    def unmet_conditions(self) -> tuple[Unmet, ...]:
        """See `Store.unmet_conditions`."""
        probe, unmet = probe_name(), Unmet(CREATE, "ignored by the file system", WITHOUT_CREATE)
        try:
            once, twice = self.create(probe, b"once"), self.create(probe, b"twice")
        finally:
            self.delete(probe)
        return () if once and not twice else (unmet,)

    def _put(
        self,
        name: str,
        fill: Callable[[Path], object],
        place: Callable[[Path, Path], object] = Path.replace,
    ) -> None:
        path = self._path(name)
        partial = path.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
        with local_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                fill(partial)
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
                place(partial, path)
            finally:
                partial.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return Path(self.url) / checked_name(name, self.url, absolute=False)


@dataclass(frozen=True, slots=True)
class LocalFile:
    """See `alexnet.storage.store.File`."""

    path: Path
    version: tuple[int, ...]

    def read(self, offset: int, length: int) -> bytes:
        """See `File.read`."""
        with local_errors(self.path), self.path.open("rb") as file:
            if _version(os.fstat(file.fileno())) != self.version:
                raise StoreError(f"{self.path}: {REPLACED}")
            file.seek(offset)
            data = file.read(length)
        return whole(data, length, str(self.path), offset)


def _is_file(entry: "os.DirEntry[str]") -> str:
    """What there is to say of a file in a list."""
    return "yes" if entry.is_file() else ""


def _version_of(entry: "os.DirEntry[str]") -> str:
    """Version of a file; empty for what is none."""
    return _version_text(entry.stat()) if entry.is_file() else ""


def _scan(root: Path, version_of: "Callable[[os.DirEntry[str]], str]") -> Iterator[Found]:
    """All below a folder. What lies there itself goes before what links lead to."""
    folders, links = [""], deque[str]()
    listed: set[tuple[int, int]] = set()
    while folders or links:
        name = folders.pop() if folders else links.popleft()
        path = root / name
        with local_errors(path):
            found = path.stat()
            if name and _leads_back(path):
                yield Found(name, LOOP)
                continue
            if (found.st_dev, found.st_ino) in listed:
                yield Found(name, LISTED)
                continue
            listed.add((found.st_dev, found.st_ino))
            inside = sorted(os.scandir(path), key=lambda entry: entry.name)
        if name and not inside:
            yield Found(name, EMPTY)
        for entry in inside:
            inner = f"{name}/{entry.name}" if name else entry.name
            try:
                if entry.is_dir():
                    (links if entry.is_symlink() else folders).append(inner)
                    continue
                version = version_of(entry)
            except OSError:  # a link to itself, or into a folder that is closed
                version = ""
            problem = NO_TARGET if entry.is_symlink() else NO_FILE
            yield Found(inner, "" if version else problem, version)


def _leads_back(path: Path) -> bool:
    """Whether a folder is a link to one that it lies in itself."""
    return path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve())


def _place_new(partial: Path, path: Path) -> None:
    """Give a whole file its name, unless there is one of that name."""
    try:
        os.link(partial, path)  # nobody sees half of it
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with path.open("xb") as file:
            file.write(partial.read_bytes())


_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What file systems without hard links answer; some that mount object stores."""


def _version(found: os.stat_result) -> tuple[int, ...]:
    """Another one for a file that was written to or replaced."""
    return found.st_ino, found.st_size, found.st_mtime_ns


def _version_text(found: os.stat_result) -> str:
    return "-".join(map(str, _version(found)))


def expanded(path: str) -> Path:
    """The path with `~` replaced.

    Raises:
        StoreError: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise StoreError(f"{path}: no such home directory. Write the path out.") from error


@contextmanager
def local_errors(path: Path) -> Iterator[None]:
    """Errors of the file system as `StoreError` with the path in front."""
    try:
        yield
    except OSError as error:
        advice = _LOCAL_ADVICE.get(error.errno or 0)
        found = f"{error.strerror or error}. Check the path."
        raise StoreError(f"{path}: {advice or found}") from error


_LOCAL_ADVICE = {
    errno.ENOENT: "no such file or folder. Correct the path, or prepare the data.",
    errno.ENOTDIR: "a part of this path is a file, not a folder. Name another path.",
    errno.EEXIST: "a part of this path is a file, not a folder. Name another path.",
    errno.EISDIR: "is a folder, a file is needed. Name another path.",
    errno.EACCES: "permission denied. Change its owner or mode, or name another path.",
    errno.EPERM: "permission denied. Change its owner or mode, or name another path.",
    errno.EROFS: "the file system is read-only. Name another path.",
    errno.ENOSPC: "no space left on the disk. Free some, or name another path.",
    errno.EDQUOT: "the disk quota is used up. Free some, or name another path.",
    errno.EFBIG: "larger than a file may be here. Raise the limit, or name another path.",
}
