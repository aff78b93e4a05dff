"""What the data side needs of a place that keeps files: a Protocol, so that it stays pure.

`alexnet/adapters/object_store/` has the real ones, for local folders and for S3.
"""

from pathlib import Path
from typing import Protocol


class Store(Protocol):
    """A flat folder of named files. Instances can be pickled and used in another process."""

    @property
    def url(self) -> str:
        """Where it is: an absolute path, or `s3://bucket/prefix`."""
        ...

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes `offset` to `offset + length` of a file, or to its end.

        Raises:
            StoreError: the file is missing, shorter than asked for, or cannot be reached.
        """
        ...

    def write(self, name: str, data: bytes) -> None:
        """Put a small file in place whole: a reader sees the old one or the new one.

        Raises:
            StoreError: it cannot be written.
        """
        ...

    def upload(self, path: Path, name: str) -> None:
        """Put a local file in place whole, in bounded memory.

        Raises:
            StoreError: it cannot be written.
        """
        ...

    def exists(self, name: str) -> bool:
        """Whether the file is there.

        Raises:
            StoreError: the store cannot be reached.
        """
        ...

    def list(self) -> list[str]:
        """Names of all files, sorted; none where there is no folder yet.

        Raises:
            StoreError: the store cannot be reached.
        """
        ...

    def check_writable(self) -> None:
        """Write and remove a probe.

        Raises:
            StoreError: this identity may not write here, or there is no room.
        """
        ...
