"""Shards that others have written, indexed where they lie: nothing is copied or changed."""

import hashlib
import json
import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from alexnet.dataset import shard_index
from alexnet.dataset.manifest import SPLITS, Manifest, Shard
from alexnet.dataset.sample_names import packed_id, printable, sample_name, unpacked
from alexnet.dataset.shard_index import SAMPLE, Index
from alexnet.errors import DataError
from alexnet.preparation.account import Account
from alexnet.preparation.duplicates import SEEN, seen
from alexnet.preparation.image_inspection import examine
from alexnet.preparation.job import WORK, Job, name_of
from alexnet.preparation.part_record import PartRecord
from alexnet.preparation.sources import (
    archives,
    class_map,
    ilsvrc,
    shard_splits,
    suspicions,
    webdataset,
)
from alexnet.preparation.sources.class_map import ClassMap
from alexnet.preparation.sources.listing import Spread, contents, files_of
from alexnet.preparation.sources.tar_stream import Walk
from alexnet.preparation.statistics import MAX_THUMBNAILS, Findings
from alexnet.preparation.validation_split import MIN_SHARE
from alexnet.storage.store import Store

VERSION = 2
"""Of what is written; raised when the same shards give other bytes."""

_OF_DATA_SET = re.compile(
    r"manifest(-[0-9a-f]{12})?\.json|.*\.index\.npy|.*\.shards\.npy|report-\w+\.(html|json)"
    rf"|{WORK}/.*",
    re.DOTALL,
)
"""What earlier preparations have put beside the shards."""

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

    def version(self, store: Store) -> str:
        """Of the shard: another text if it was written anew."""
        return store.version(self.shard)


def job(
    store: Store,
    val_share: float | None,
    classes: ClassMap | None,
    spread: Spread,
    base: Manifest | None = None,
) -> Job:
    """The indexing of the shards in a folder.

    Args:
        store: the folder.
        val_share: share of the shards for validation where no name says `val`; None for
            `MIN_SHARE`, but one shard at least.
        classes: that they have; None to find them, which reads all shards once more.
        spread: reads shards side by side.
        base: the data set that is added to: its classes are kept, its shards passed over.

    Raises:
        StoreError: a shard cannot be read.
        DataError: there are no new shards, or what they are cannot be told.
    """
    tars, account = _tars(store, base)
    if val_share is None:
        val_share = MIN_SHARE
    chosen = shard_splits.shards(
        store.url, tars, val_share, growing=base is not None, account=account
    )
    if base:
        classes = ClassMap(base.classes)
    elif classes is None:
        classes = class_map.find_classes(store, [*chosen["train"], *chosen["val"]], spread)
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
        found=Findings(account=account),
        suspicions=tuple(suspicions.alike(store.url, classes.names)),
    )


def _tars(store: Store, base: Manifest | None) -> tuple[list[str], Account]:
    """The shards of a folder, and what lies beside them."""
    known = {shard.name for split in SPLITS for shard in base.split(split)} if base else set()
    found = contents(files_of(store.scan()))
    names = [entry.name for entry in found.files]
    if ilsvrc.TRAIN in names:
        raise DataError(f"{store.url}/{ilsvrc.TRAIN}: not a shard. Name a destination for shards.")
    archives.refuse_compressed(store.url, *names)
    for name, problem in found.rejects:
        raise DataError(f"{store.url}/{printable(name)}: {problem}. Put it there, or remove it.")
    tars = []
    for name in names:
        if name.endswith(".tar") and name not in known:
            tars.append(name)
            found.account.found -= 1  # what is in it counts
        elif name in known or _OF_DATA_SET.fullmatch(name):
            found.account.pass_over("of the data set", name)
        else:
            found.account.not_image(name)
    if not tars:
        raise DataError(
            f"{store.url}: no {'new ' if base else ''}shard is here. Name a folder of WebDataset "
            "shards, or a destination for shards that are to be made."
        )
    return tars, found.account


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
    version = part.version(store)
    walk = Walk(store, part.shard)
    for sample in webdataset.samples(walk, findings.account):
        known = classes.label(sample)
        try:
            image, label = webdataset.usable(sample, known)
            data = image.data or b""
            found = examine(data)
        except DataError as error:
            for name in sample.images or [sample.key]:
                findings.reject(f"{part.shard}: {name}", error)
            continue
        findings.add(data, part.split, label, found, part.show_share)
        number = packed_id(part.number, len(rows))
        seen_rows.append(seen(data, number, label, part.split))
        rows.append((sample.offset, len(data), label, shard_index.crc32c(data)))
    webdataset.count_empty(part.shard, findings.account)
    findings.account.check(walk.where, len(rows) + findings.num_rejected)
    written = Index(walk.num_bytes, walk.sha256, np.array(rows, SAMPLE))
    shard = _write(store, part.shard, written) if rows else None
    return PartRecord(part.split, shard, findings, np.array(seen_rows, SEEN), version)


def _write(store: Store, shard: str, written: Index) -> Shard:
    data = shard_index.to_bytes(written)
    store.write(shard_index.name_of(shard), data)
    digest = hashlib.sha256(data).digest()
    return Shard(name=shard, num_samples=len(written.samples), index_sha256=digest)
