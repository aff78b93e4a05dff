"""The images of a source as a table: about 60 bytes and its name for each, whatever its size."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import DataError
from alexnet.preparation.account import Account
from alexnet.preparation.sources import passed_over
from alexnet.preparation.sources.tar_scan import Member, path_of
from alexnet.storage.store import EMPTY, LISTED, LOOP, NO_FILE, Found, Store

Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Like the builtin `map`, but in any order and maybe on many machines."""

BYTES = ("utf-8", "surrogateescape")
"""Names of files are bytes, and need not be UTF-8 (PEP 383)."""

SPLITS = ("", "train", "val")
"""An image whose source has no validation split is in the first."""

ENTRY = np.dtype(
    [
        ("file", "<u4"),
        ("offset", "<i8"),
        ("length", "<i8"),
        ("version", "<u8"),
        ("label", "<u4"),
        ("split", "u1"),
    ]
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
    version: int = 0
    """Another number for a file that was written anew; see `fingerprint`."""


def fingerprint(version: str) -> int:
    """A version as `Store.version` has it in 8 bytes."""
    return int.from_bytes(hashlib.blake2b(version.encode(), digest_size=8).digest())


class Contents(NamedTuple):
    """What a folder or an archive has, before a layout is seen in it."""

    files: list[Entry]
    """Whose names no rule passes over; split and label are not set yet."""
    others: set[str]
    """Folders that something else lies in, or nothing; links to folders too."""
    rejects: list[tuple[str, str]]
    """Name of what cannot be read, and why."""
    account: Account

    def add(self, other: "Contents") -> None:
        """All but the files of another archive too."""
        self.rejects.extend(other.rejects)
        self.account.merge(other.account)


def contents(items: Iterable[tuple[Entry, str]]) -> Contents:
    """Sort out what no layout needs to look at.

    Args:
        items: all that is there, and why it is no file that can be read, as `Found.problem` has it.
    """
    found = Contents([], set(), [], Account())
    for entry, problem in items:
        if problem == EMPTY:
            found.others.add(entry.name)
            continue
        found.account.found += 1
        rule, outside = passed_over.rule(entry.name)
        if rule:
            found.account.pass_over(rule, entry.name)
            found.others.add(outside)
        elif problem in PASSED_OVER:
            found.account.pass_over(problem, entry.name)
        elif problem:
            found.rejects.append((entry.name, problem))
        else:
            found.files.append(entry)
    return found


def files_of(found: Iterable[Found]) -> Iterator[tuple[Entry, str]]:
    """For `contents`: what lies in a store."""
    for name, problem, version in found:
        yield Entry(name, "", 0, name, version=fingerprint(version)), problem


def unpacked(archive: str, found: Iterable[Member], version: str) -> Iterator[tuple[Entry, str]]:
    """For `contents`: the members that would be there if a tar were unpacked; the others, with why.

    Args:
        archive: file in the store that the tar is, or is in.
        found: its members in order.
        version: of the file.
    """
    number = fingerprint(version)
    last: dict[str, Member] = {}
    for member in found:
        path = path_of(member.name)
        before = last.get(path)
        if before and before.problem != EMPTY:
            yield Entry(path, "", 0, archive), REPLACED
        last[path] = member
    for path, member in last.items():
        entry = Entry(path, "", 0, archive, member.offset, member.length, number)
        yield entry, member.problem


REPLACED = "replaced by a later member"
"""Rule for what unpacking a tar would write over."""

BESIDE = "beside the archives"
"""Rule for the other files in a folder of ILSVRC 2012's archives, such as what was unpacked."""

PASSED_OVER = (LISTED, LOOP, NO_FILE, REPLACED, BESIDE)
"""Problems that are no reason to count a file as rejected."""


class Suspicion(NamedTuple):
    """What suggests a mistake in a source, though it can be prepared."""

    kind: str
    """By which it can be accepted; one of `SUSPICIONS`."""
    message: str


SUSPICIONS = (
    "empty-class",
    "other-files",
    "alike-classes",
    "split-name",
    "repeated-link",
    "archive",
)


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
    account: Account = field(default_factory=Account)
    """Of all that the source has."""
    rejects: tuple[tuple[str, str], ...] = ()
    """Name of what cannot be read, and why; what is in `rows` is not looked at yet."""
    suspicions: tuple[Suspicion, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def entry(self, number: int) -> Entry:
        """An image by its position."""
        file, offset, length, version, label, split = self.rows[number].item()
        begin = int(self.name_ends[number - 1]) if number else 0
        return Entry(
            name=self.names[begin : int(self.name_ends[number])].decode(*BYTES),
            split=SPLITS[split],
            label=label,
            file=self.files[file],
            offset=offset,
            length=None if length < 0 else length,
            version=version,
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
        """SHA-256 (hex) of which images there are, where, and what they show; not of versions."""
        digest = hashlib.sha256()
        for part in (*self.classes, *self.files):
            digest.update(part.encode(*BYTES) + b"\0")
        columns = [self.rows[name] for name in ENTRY.names or () if name != "version"]
        for column in (*columns, self.name_ends):
            digest.update(column.tobytes())
        digest.update(self.names)
        return digest.hexdigest()


def listed(
    where: str,
    classes: Sequence[str],
    entries: Iterable[Entry],
    found: Contents,
    suspicions: Iterable[Suspicion] = (),
) -> Listing:
    """A listing of entries that come in any order, from all that was found."""
    files: dict[str, int] = {}
    rows: list[tuple[int, ...]] = []
    names: list[bytes] = []
    for entry in entries:
        file = files.setdefault(entry.file, len(files))
        length = -1 if entry.length is None else entry.length
        split = SPLITS.index(entry.split)
        rows.append((file, entry.offset, length, entry.version, entry.label, split))
        names.append(entry.name.encode(*BYTES))
    order = sorted(range(len(names)), key=names.__getitem__)
    table = np.array(rows, ENTRY)[order] if rows else np.zeros(0, ENTRY)
    ordered = [names[i] for i in order]
    ends = np.cumsum([len(name) for name in ordered], dtype=np.int64)
    found.account.check(where, len(names) + len(found.rejects))
    return Listing(
        where,
        tuple(classes),
        tuple(files),
        table,
        b"".join(ordered),
        ends,
        found.account,
        tuple(found.rejects),
        tuple(suspicions),
    )
