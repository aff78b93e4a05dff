"""The images of a source as a table: about 60 bytes and its name for each, whatever its size."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import DataError
from alexnet.storage.store import Store

Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Like the builtin `map`, but in any order and maybe on many machines."""

SPLITS = ("", "train", "val")
"""An image whose source has no validation split is in the first."""

ENTRY = np.dtype(
    [("file", "<u4"), ("offset", "<i8"), ("length", "<i8"), ("label", "<u4"), ("split", "u1")]
)


class Entry(NamedTuple):
    """Where an image lies, and what it shows."""

    name: str
    """Such as `train/n01440764/n01440764_10026.JPEG`; for messages and order."""
    split: str
    """`train`, `val`, or empty."""
    label: int
    file: str
    """Name in the source's store."""
    offset: int = 0
    length: int | None = None
    """None: to the end of the file."""


def read(store: Store, entry: Entry) -> bytes:
    """The bytes of an image file.

    Raises:
        StoreError: it cannot be read.
    """
    return store.read(entry.file, entry.offset, entry.length)


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """The images of a source in order of their names."""

    where: str
    """What messages call the source."""
    classes: tuple[str, ...]
    """In label order."""
    files: tuple[str, ...]
    rows: NDArray[np.void]
    """(images,) of dtype `ENTRY`."""
    names: bytes
    name_ends: NDArray[np.int64]
    """(images,): where each name ends in `names`."""

    def __len__(self) -> int:
        return len(self.rows)

    def entry(self, number: int) -> Entry:
        """An image by its position."""
        file, offset, length, label, split = self.rows[number].item()
        begin = int(self.name_ends[number - 1]) if number else 0
        return Entry(
            name=self.names[begin : int(self.name_ends[number])].decode(),
            split=SPLITS[split],
            label=label,
            file=self.files[file],
            offset=offset,
            length=None if length < 0 else length,
        )

    def in_split(self, split: str) -> NDArray[np.int64]:
        """Positions of a split's images."""
        return np.flatnonzero(self.rows["split"] == SPLITS.index(split))

    def with_classes(self, classes: Sequence[str]) -> "Listing":
        """The same images with the labels of a larger set of classes.

        Raises:
            DataError: a class is not among them.
        """
        unknown = sorted(set(self.classes) - set(classes))
        if unknown:
            raise DataError(
                f"{self.where}: class {unknown[0]!r} is not one of the data set's {len(classes)}. "
                "Leave its images out, or prepare a new data set from all images."
            )
        labels = np.array([classes.index(name) for name in self.classes], np.uint32)
        rows = self.rows.copy()
        rows["label"] = labels[rows["label"]]
        return replace(self, classes=tuple(classes), rows=rows)

    def digest(self) -> str:
        """SHA-256 (hex) of which images there are, where, and what they show."""
        digest = hashlib.sha256()
        for part in (*self.classes, *self.files):
            digest.update(part.encode() + b"\0")
        for column in (self.rows, self.names, self.name_ends):
            digest.update(column if isinstance(column, bytes) else column.tobytes())
        return digest.hexdigest()


def listed(where: str, classes: Sequence[str], entries: Iterable[Entry]) -> Listing:
    """A listing of entries that come in any order."""
    files: dict[str, int] = {}
    rows: list[tuple[int, ...]] = []
    names: list[bytes] = []
    for entry in entries:
        file = files.setdefault(entry.file, len(files))
        length = -1 if entry.length is None else entry.length
        rows.append((file, entry.offset, length, entry.label, SPLITS.index(entry.split)))
        names.append(entry.name.encode())
    order = sorted(range(len(names)), key=names.__getitem__)
    table = np.array(rows, ENTRY)[order] if rows else np.zeros(0, ENTRY)
    ordered = [names[i] for i in order]
    ends = np.cumsum([len(name) for name in ordered], dtype=np.int64)
    return Listing(where, tuple(classes), tuple(files), table, b"".join(ordered), ends)
