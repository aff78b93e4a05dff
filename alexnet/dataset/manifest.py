"""The data set: its classes, its colours, and the shards of each split.

`manifest.json` lies beside the shards and is small whatever the size of the data set. It names one
table a split, a NumPy file with two columns: the samples of each shard, and the digest of its
index. So digests chain from the manifest's own, which is the data set's identity, down to the
CRC-32C of every sample. `docs/data-format.md` describes the files.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.dataset import shard_index
from alexnet.dataset.shard_index import Index
from alexnet.errors import ConfigError, DataError
from alexnet.storage.documents import Reader
from alexnet.storage.store import ReadableStore, Store, read_verified

MANIFEST_NAME = "manifest.json"
"""The newest manifest of a folder. A copy of each, `manifest-<digest>.json`, stays."""

FORMAT = "alexnet-shards"
VERSION = 1
"""Raise by one when a field is added, removed or changes meaning; keep a reader for the old."""

SPLITS = ("train", "val")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One tar."""

    name: str
    """File name beside the manifest."""
    num_samples: int
    index_sha256: bytes
    """Digest of the index file, 32 bytes."""

    @property
    def index(self) -> str:
        """File name of the index."""
        return shard_index.name_of(self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The shards of `train` or `val` as columns: 36 bytes a shard, because there may be 10^6."""

    sizes: NDArray[np.uint32]
    """(shards,): samples of each."""
    index_sha256: NDArray[np.uint8]
    """(shards, 32): digest of each index file."""
    names: str | NDArray[np.bytes_]
    """Pattern with one `%d`, such as `train-%06d.tar`; else (shards,) file names."""

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, number: int) -> Shard:
        """A shard by its position.

        Raises:
            IndexError: there are fewer.
        """
        return Shard(
            name=self._name(number),
            num_samples=int(self.sizes[number]),
            index_sha256=self.index_sha256[number].tobytes(),
        )

    def __iter__(self) -> Iterator[Shard]:
        """The shards in order."""
        return (self[number] for number in range(len(self)))

    @property
    def num_samples(self) -> int:
        """Samples of all shards."""
        return int(self.sizes.sum(dtype=np.int64))

    def _name(self, number: int) -> str:
        if isinstance(self.names, str):
            return self.names % number
        return bytes(self.names[number]).decode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Colour:
    """Statistics of the training split's pixels, RGB in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    axes: tuple[tuple[float, float, float], ...]
    """(3, 3): column i is the i-th principal axis of the RGB values, times its standard deviation;
    what PCA lighting shifts along (Krizhevsky et al. 2012, section 4.1)."""

    def __post_init__(self) -> None:
        """Hold the values to their rules."""
        if len(self.axes) != 3 or min(self.std) <= 0:
            raise ConfigError("colour: must have three axes, and standard deviations above 0")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Manifest:
    """What `manifest.json` and its tables say, and the digest of its bytes."""

    name: str
    classes: tuple[str, ...]
    """Names in label order."""
    colour: Colour
    splits: Mapping[str, Split]
    digest: str
    """SHA-256 (hex) of the file: the identity of the data set."""

    def split(self, split: str) -> Split:
        """The shards of `train` or `val`.

        Raises:
            DataError: there are none.
        """
        if split not in self.splits:
            raise DataError(f"the data set {self.name!r} has no {split!r} split. Prepare it anew.")
        return self.splits[split]

    def num_samples(self, split: str) -> int:
        """Samples in a split."""
        return self.split(split).num_samples


@dataclass(frozen=True, slots=True)
class Draft:
    """A manifest before anybody can see it."""

    data: bytes
    tables: Mapping[str, bytes]
    """By file name."""

    @property
    def digest(self) -> str:
        """Of the manifest that it will be."""
        return hashlib.sha256(self.data).hexdigest()


def draft(
    name: str, classes: Sequence[str], colour: Colour, splits: Mapping[str, Sequence[Shard]]
) -> Draft:
    """The manifest of these shards."""
    described, tables = {}, {}
    for split, shards in splits.items():
        pattern = f"{split}-%06d.tar"
        regular = all(shard.name == pattern % i for i, shard in enumerate(shards))
        table = _table(shards, named=not regular)
        digest = hashlib.sha256(table).hexdigest()
        file = f"{split}-{digest[:12]}.shards.npy"
        tables[file] = table
        described[split] = _Table(
            num_samples=sum(shard.num_samples for shard in shards),
            num_shards=len(shards),
            names=pattern if regular else None,
            table=file,
            sha256=digest,
        )
    tree = asdict(_File(name=name, classes=tuple(classes), colour=colour, splits=described))
    # Not by `documents.to_json`: names of classes in any alphabet stay readable.
    return Draft((json.dumps(tree, indent=1, ensure_ascii=False) + "\n").encode(), tables)


def publish(store: Store, draft: Draft) -> Manifest:
    """Write the tables, then the manifest, then make it the folder's newest.

    Every shard and index must be in place. What was published before stays valid under
    `manifest-<digest>.json`, for no file but `manifest.json` is ever replaced.

    Raises:
        StoreError: the store cannot be written.
    """
    for file, table in draft.tables.items():
        store.write(file, table)
    store.write(name_of(draft.digest), draft.data)
    store.write(MANIFEST_NAME, draft.data)
    return parse(draft.data, store, MANIFEST_NAME)


def name_of(digest: str) -> str:
    """Under which a manifest stays, by its digest (hex)."""
    return f"manifest-{digest[:12]}.json"


def locate(url: str) -> tuple[str, str]:
    """Folder and manifest file that a data set's URL names: a folder means its newest manifest."""
    folder, slash, file = url.rpartition("/")
    if file.endswith(".json"):
        return (folder or slash or "."), file
    return url, MANIFEST_NAME


def read(store: Store, name: str = MANIFEST_NAME) -> Manifest:
    """Read a manifest and its tables.

    Raises:
        StoreError: a file is missing or cannot be reached.
        DataError: it is not a manifest, or a table is not the one it names.
    """
    return parse(store.read(name), store, name)


def parse(data: bytes, store: Store, name: str) -> Manifest:
    """Read the bytes of a manifest; its tables come from the store.

    Raises:
        StoreError: a table is missing or cannot be reached.
        DataError: it is not a manifest, or of a version that this code does not know.
    """
    where = f"{store.url}/{name}"
    file = READER.parse(data, where)
    try:
        return Manifest(
            name=file.name,
            classes=file.classes,
            colour=file.colour,
            splits={split: _read_split(store, table) for split, table in file.splits.items()},
            digest=hashlib.sha256(data).hexdigest(),
        )
    except ValueError as error:
        raise READER.damaged(where, str(error)) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class _Table:
    """What the file says of a split."""

    num_samples: int
    num_shards: int
    names: str | None
    """See `Split.names`; None: the table has them."""
    table: str
    """File name."""
    sha256: str
    """Of the table, hex."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """`manifest.json`."""

    format: str = FORMAT
    version: int = VERSION
    name: str
    classes: tuple[str, ...]
    colour: Colour
    splits: Mapping[str, _Table]


READER = Reader(
    _File, DataError, "Write one with pipelines/prepare_shards.py.", fixed=("format", "version")
)


def _table(shards: Sequence[Shard], *, named: bool) -> bytes:
    names = [shard.name.encode() for shard in shards] if named else None
    width = max(map(len, names)) if names else 0
    record = np.zeros((), _table_dtype(len(shards), width))
    record["num_samples"] = [shard.num_samples for shard in shards]
    digests = b"".join(shard.index_sha256 for shard in shards)
    record["index_sha256"] = np.frombuffer(digests, np.uint8).reshape(-1, 32)
    if names:
        record["name"] = names
    return shard_index.npy_bytes(record)


def _table_dtype(num_shards: int, name_bytes: int) -> np.dtype[np.void]:
    """Whole columns one after another, so that planning touches the sizes alone."""
    fields: list[Any] = [
        ("num_samples", "<u4", (num_shards,)),
        ("index_sha256", "u1", (num_shards, 32)),
    ]
    if name_bytes:
        fields.append(("name", f"S{name_bytes}", (num_shards,)))
    return np.dtype(fields)


def _read_split(store: Store, said: _Table) -> Split:
    count, names = said.num_shards, said.names
    data = read_verified(store, said.table, bytes.fromhex(said.sha256))
    width = 0
    if names is None:
        # The column of names is what is left of the file; its width is not said elsewhere.
        header_bytes = 10 + int.from_bytes(data[8:10], "little")
        width = (len(data) - header_bytes) // count - _table_dtype(1, 0).itemsize
    record = shard_index.from_npy(data, _table_dtype(count, width))
    split = Split(
        sizes=record["num_samples"],
        index_sha256=record["index_sha256"],
        names=record["name"] if names is None else names,
    )
    if not count or not split.sizes.all() or split.num_samples != said.num_samples:
        raise ValueError(f"{said.table} does not hold {said.num_samples} samples in full shards")
    return split


def read_index(store: ReadableStore, shard: Shard) -> Index:
    """Index of a shard, checked against the manifest.

    Raises:
        StoreError: it cannot be read.
        DataError: its digest is not the manifest's, or it has another number of samples.
    """
    data = read_verified(store, shard.index, shard.index_sha256)
    try:
        return shard_index.parse(data, shard.num_samples)
    except ValueError as error:
        raise DataError(
            f"{store.url}/{shard.index}: does not hold the {shard.num_samples} samples that the "
            "manifest says. Prepare the data anew."
        ) from error


def check_classes(manifest: Manifest, num_classes: int) -> None:
    """Refuse a network whose last layer does not fit the data set.

    Raises:
        DataError: the counts differ.
    """
    if len(manifest.classes) != num_classes:
        raise DataError(
            f"model.num_classes = {num_classes}: the data set {manifest.name!r} has "
            f"{len(manifest.classes)} classes. Set model.num_classes={len(manifest.classes)}."
        )
