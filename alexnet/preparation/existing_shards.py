"""Shards that others have written, indexed where they lie: nothing is copied or changed."""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from alexnet.dataset import shard_index
from alexnet.dataset.manifest import SPLITS, Manifest, Shard
from alexnet.dataset.sample_names import packed_id, sample_name, unpacked
from alexnet.dataset.shard_index import SAMPLE, Index
from alexnet.errors import DataError
from alexnet.preparation.duplicates import SEEN, seen
from alexnet.preparation.image_inspection import examine
from alexnet.preparation.job import Job, name_of
from alexnet.preparation.part_record import PartRecord
from alexnet.preparation.sources import ilsvrc, webdataset
from alexnet.preparation.sources.listing import Spread
from alexnet.preparation.sources.tar_stream import MAX_MEMBER_BYTES, Walk
from alexnet.preparation.sources.webdataset import ClassMap, RawSample
from alexnet.preparation.statistics import MAX_THUMBNAILS, Findings
from alexnet.storage.store import Store

VERSION = 1
"""Of what is written; raised when the same shards give other bytes."""

TYPICAL_SAMPLES = 1000
"""Of a shard; sets how many images are offered for the contact sheet before they are counted."""


class Part(NamedTuple):
    """One shard."""

    shard: str
    split: str
    number: int
    """Among all shards of the job."""
    show_share: float
    """See `Findings.add`."""


def job(
    store: Store,
    val_share: float,
    classes: ClassMap | None,
    spread: Spread,
    base: Manifest | None = None,
) -> Job:
    """The indexing of the shards in a folder.

    Args:
        store: the folder.
        val_share: share of the shards for validation where no name says `val`.
        classes: that they have; None to find them, which reads all shards once more.
        spread: reads shards side by side.
        base: the data set that is added to: its classes are kept, its shards passed over.

    Raises:
        StoreError: a shard cannot be read.
        DataError: there are no new shards, or what they are cannot be told.
    """
    known = {shard.name for split in SPLITS for shard in base.split(split)} if base else set()
    tars = [name for name in store.list() if name.endswith(".tar") and name not in known]
    if ilsvrc.TRAIN in tars:
        raise DataError(f"{store.url}/{ilsvrc.TRAIN}: not a shard. Name a destination for shards.")
    if not tars:
        raise DataError(
            f"{store.url}: no {'new ' if base else ''}shard is here. Name a folder of WebDataset "
            "shards, or a destination for shards that are to be made."
        )
    chosen = webdataset.shards(store.url, tars, val_share, growing=base is not None)
    if base:
        classes = ClassMap(base.classes)
    elif classes is None:
        classes = webdataset.find_classes(store, [*chosen["train"], *chosen["val"]], spread)
    show_share = 2 * MAX_THUMBNAILS / TYPICAL_SAMPLES / len(tars)
    pairs = [(split, shard) for split, names in chosen.items() for shard in names]
    parts = [Part(shard, split, number, show_share) for number, (split, shard) in enumerate(pairs)]
    name = base.name if base else name_of(store)
    identity = [VERSION, name, classes.names, chosen, base and base.digest]
    return Job(
        name=name,
        where=store.url,
        classes=classes.names,
        digest=hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16],
        num_images=None,
        parts=lambda: iter(parts),
        make=partial(make, classes=classes),
        name_of=partial(_name_of, store, parts),
        in_place=True,
    )


def _name_of(
    store: Store, parts: list[Part], number: int, record_of: Callable[[str], PartRecord]
) -> str:
    place, row = unpacked(number)
    shard = record_of(parts[place].shard).shard
    if not shard:
        raise ValueError(f"image {number} is in a shard without images")
    return sample_name(store, shard, row)


def make(part: Part, store: Store, *, classes: ClassMap) -> PartRecord:
    """Write the index of a shard; images that cannot be used are left out of it.

    Raises:
        StoreError: the shard cannot be read, or the index cannot be written.
        DataError: it is no whole tar, or a sample has a class that is none.
    """
    findings = Findings()
    rows: list[tuple[int, ...]] = []
    seen_rows: list[tuple[int, ...]] = []
    walk = Walk(store, part.shard)
    for sample in webdataset.samples(walk):
        known = classes.label(sample)
        try:
            data, label = _usable(sample, known)
            found = examine(data)
        except DataError as error:
            findings.reject(f"{part.shard}: {sample.key}", error)
            continue
        findings.add(data, part.split, label, found, part.show_share)
        number = packed_id(part.number, len(rows))
        seen_rows.append(seen(data, number, label, part.split))
        rows.append((sample.offset, len(data), label, shard_index.crc32c(data)))
    written = Index(walk.num_bytes, walk.sha256, np.array(rows, SAMPLE))
    shard = _write(store, part.shard, written) if rows else None
    return PartRecord(part.split, shard, findings, np.array(seen_rows, SEEN))


def _usable(sample: RawSample, label: int | None) -> tuple[bytes, int]:
    if sample.image is None:
        raise DataError("a sample without .jpg, .jpeg or .png")
    if label is None:
        raise DataError("a sample without .cls, .json or the name of a class")
    if sample.image.data is None:
        raise DataError(
            f"a file of {sample.image.length} bytes: must have at most {MAX_MEMBER_BYTES}"
        )
    return sample.image.data, label


def _write(store: Store, shard: str, written: Index) -> Shard:
    data = shard_index.to_bytes(written)
    store.write(shard_index.name_of(shard), data)
    digest = hashlib.sha256(data).digest()
    return Shard(name=shard, num_samples=len(written.samples), index_sha256=digest)
