"""The data set: which shards, how many samples, which bytes, and where each sample lies in them.

`manifest.json` lies beside the shards. It is a superset of the shard list of WebDataset's `wids`
(`wids_version` and `shardlist` with `url`, `nsamples`, `filesize`), so tools that read that can
read ours. Its own SHA-256 is the identity of the data set. Each shard has an index: a NumPy file
with one row (`SAMPLE`) for each sample. With it any run of samples is one ranged read, and an
altered byte cannot pass unseen.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from alexnet.errors import DataError
from alexnet.store import Store

MANIFEST_NAME = "manifest.json"

FORMAT = "alexnet-shards"
VERSION = 1
"""Raise by one when a field is added, removed or changes meaning; keep a reader for the old."""

SAMPLE = np.dtype([("offset", "<u8"), ("length", "<u4"), ("label", "<u4"), ("crc32c", "<u4")])
"""Index row: the image's first byte inside the tar, its bytes, its class, its CRC-32C."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One tar, and what it must be."""

    url: str
    """File name beside the manifest."""
    split: str
    nsamples: int
    filesize: int
    sha256: str
    index: str
    """File name of the index beside the manifest."""
    index_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Colour:
    """Statistics of the training split's pixels, RGB in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    axes: tuple[tuple[float, float, float], ...]
    """(3, 3): column i is the i-th principal axis of the RGB values, times its standard deviation;
    what PCA lighting shifts along (Krizhevsky et al. 2012, section 4.1)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What `manifest.json` says, and the digest of its bytes."""

    name: str
    classes: tuple[str, ...]
    """Names in label order."""
    colour: Colour
    shards: tuple[Shard, ...]
    digest: str
    """SHA-256 (hex) of the file: the identity of the data set."""

    def split(self, split: str) -> tuple[Shard, ...]:
        """Shards of `train` or `val`, in order.

        Raises:
            DataError: there are none.
        """
        shards = tuple(shard for shard in self.shards if shard.split == split)
        if not shards:
            raise DataError(f"the data set {self.name!r} has no {split!r} split. Prepare it anew.")
        return shards

    def num_samples(self, split: str) -> int:
        """Samples in a split."""
        return sum(shard.nsamples for shard in self.split(split))


def to_json(name: str, classes: Sequence[str], colour: Colour, shards: Sequence[Shard]) -> bytes:
    """The bytes of `manifest.json`; the same data set gives the same bytes."""
    tree = {
        "format": FORMAT,
        "version": VERSION,
        "wids_version": 1,
        "name": name,
        "classes": list(classes),
        "colour": asdict(colour),
        "shardlist": [asdict(shard) for shard in shards],
    }
    return (json.dumps(tree, indent=1, ensure_ascii=False) + "\n").encode()


def parse(data: bytes, where: str) -> Manifest:
    """Read `manifest.json`.

    Args:
        data: its bytes.
        where: what messages call it.

    Raises:
        DataError: it is not a manifest, or of a version that this code does not know.
    """
    try:
        tree = json.loads(data)
    except ValueError as error:
        raise DataError(f"{where}: not JSON. {_PREPARE}") from error
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        found = tree.get("format") if isinstance(tree, dict) else type(tree).__name__
        raise DataError(f"{where}: format is {found!r}, not {FORMAT!r}. {_PREPARE}")
    if tree.get("version") != VERSION:
        raise DataError(
            f"{where}: version {tree.get('version')!r}; this code reads {VERSION}. "
            "Use the release that wrote it, or prepare the data anew."
        )
    try:
        return _from_tree(tree, hashlib.sha256(data).hexdigest())
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{where}: {type(error).__name__}: {error}: a field is missing or of another kind. "
            f"{_PREPARE}"
        ) from error


_PREPARE = "Write one with pipelines/prepare_shards.py."


def _from_tree(tree: dict[str, Any], digest: str) -> Manifest:
    colour = tree["colour"]
    manifest = Manifest(
        name=tree["name"],
        classes=tuple(tree["classes"]),
        colour=Colour(
            mean=_triple(colour["mean"]),
            std=_triple(colour["std"]),
            axes=tuple(_triple(row) for row in colour["axes"]),
        ),
        shards=tuple(Shard(**shard) for shard in tree["shardlist"]),
        digest=digest,
    )
    if not all(shard.nsamples > 0 and shard.filesize > 0 for shard in manifest.shards):
        raise ValueError("a shard without samples")
    if len(manifest.colour.axes) != 3 or min(manifest.colour.std) <= 0:
        raise ValueError("colour needs three axes and standard deviations above 0")
    return manifest


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def read(store: Store) -> Manifest:
    """Read the manifest of the data set in `store`.

    Raises:
        StoreError: it is missing or cannot be reached.
        DataError: it is not a manifest.
    """
    return parse(store.read(MANIFEST_NAME), f"{store.url}/{MANIFEST_NAME}")


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


def index_bytes(rows: NDArray[np.void]) -> bytes:
    """An index as the bytes of a `.npy` file.

    Args:
        rows: (number of samples,) of dtype `SAMPLE`.
    """
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    return buffer.getvalue()


def read_index(store: Store, shard: Shard) -> NDArray[np.void]:
    """Index of a shard, (nsamples,) of dtype `SAMPLE`, checked against the manifest.

    Raises:
        StoreError: it cannot be read.
        DataError: its digest is not the manifest's, or it has another number of samples.
    """
    data = store.read(shard.index)
    if hashlib.sha256(data).hexdigest() != shard.index_sha256:
        raise DataError(
            f"{store.url}/{shard.index}: SHA-256 is not the manifest's, so the file was changed "
            "after the data set was written. Restore it, or prepare the data anew."
        )
    # Not np.load: that parses the header as Python source, which now and then fails where several
    # threads do it at once (CPython 3.11, issue 106905). The format's version 1.0 has the header's
    # length in bytes 8 and 9; what the header says, our own version says too.
    header_bytes = 10 + int.from_bytes(data[8:10], "little")
    if len(data) != header_bytes + shard.nsamples * SAMPLE.itemsize:
        raise DataError(
            f"{store.url}/{shard.index}: does not hold the {shard.nsamples} samples that the "
            "manifest says. Prepare the data anew."
        )
    return np.frombuffer(data, SAMPLE, offset=header_bytes)


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of `data`."""
    return int(google_crc32c.value(data))
