"""A listing of images to shards, part by part: any machine can make any part, in any order.

A part is one shard. What is in it follows from the listing and the settings alone, and so do its
bytes. A record of what was found is written behind each shard, so that an interrupted preparation
goes on where it stopped.
"""

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet import images, seeds
from alexnet.errors import DataError
from alexnet.examine import Examined, examine
from alexnet.findings import MAX_THUMBNAILS, SEEN, Findings, seen
from alexnet.manifest import Shard
from alexnet.shards import Sample, sample_key, write_shard
from alexnet.sources.listing import Entry, Listing, read
from alexnet.store import Store

WORK = "preparing"
"""Folder of a data set under way; it is removed when the manifest is published."""

VERSION = 1
"""Of what a part is made into; raised when the same input gives other bytes."""

JPEG_QUALITY = 95
"""Of images that are re-encoded; at 95 and 4:4:4 the loss is not visible."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a data set is made to be."""

    name: str
    seed: int = 0
    """Of the order in which training images lie in the shards."""
    samples_per_shard: int = 1000
    """About 110 MB of original ImageNet files: large enough for fast reads, small enough to
    spread."""
    short_side_px: int | None = None
    """Larger images are scaled down to this short side; None leaves sizes as they are."""
    val_share: float = 0.05
    """Share of the images that becomes the validation split where the source has none."""

    def digest(self, listing: Listing) -> str:
        """Identity of a preparation: 16 hexadecimal digits."""
        text = json.dumps([VERSION, asdict(self), listing.digest()])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Part(NamedTuple):
    """The images of one shard."""

    shard: str
    split: str
    images: list[tuple[int, Entry]]
    """Number in the listing, and the image."""
    show_share: float
    """See `Findings.add`."""


class Record(NamedTuple):
    """What became of a part."""

    shard: Shard | None
    """None if no image of the part can be used."""
    findings: Findings
    seen: NDArray[np.void]
    """(usable images,) of dtype `SEEN`."""


def num_parts(listing: Listing, settings: Settings) -> int:
    """How many parts there are."""
    per_shard = settings.samples_per_shard
    return sum(-(-len(order) // per_shard) for order in orders(listing, settings).values())


def parts(listing: Listing, settings: Settings) -> Iterator[Part]:
    """The shards to be made."""
    for split, order in orders(listing, settings).items():
        for number, first in enumerate(range(0, len(order), settings.samples_per_shard)):
            chosen = order[first : first + settings.samples_per_shard].tolist()
            yield Part(
                f"{split}-{number:06d}.tar",
                split,
                [(i, listing.entry(i)) for i in chosen],
                2 * MAX_THUMBNAILS / len(listing),
            )


def orders(listing: Listing, settings: Settings) -> dict[str, NDArray[np.int64]]:
    """Numbers of each split's images in the order of the shards.

    Training images are shuffled over all shards; validation images keep the order of their names.

    Raises:
        DataError: a split would be empty.
    """
    train, val = listing.in_split("train"), listing.in_split("val")
    whole = listing.in_split("")
    if len(whole):
        chosen = np.array([_goes_to_val(listing.entry(i).name, settings) for i in whole])
        train, val = whole[~chosen], whole[chosen]
    elif not len(val):
        # A source with a training split only: as if it had none.
        chosen = np.array([_goes_to_val(listing.entry(i).name, settings) for i in train])
        train, val = train[~chosen], train[chosen]
    if not len(train) or not len(val):
        raise DataError(
            f"{listing.where}: {len(train)} images to train on and {len(val)} to validate with. "
            "Both need some: add images, or change --val-share."
        )
    return {"train": seeds.generator(settings.seed, "prepare").permutation(train), "val": val}


def _goes_to_val(name: str, settings: Settings) -> bool:
    """By the name of class and file alone, so that an image stays where it is when others come."""
    tail = "/".join(PurePosixPath(name).parts[-2:])
    return seeds.derive(0, "val", tail) < settings.val_share * 2**63


def make(part: Part, source: Store, destination: Store, settings: Settings, work: str) -> Record:
    """Write a part's shard, its index, and the record of what was found.

    Args:
        part: what to make.
        source: where the images are.
        destination: where the shard goes.
        settings: of the data set.
        work: folder for the record, in `destination`.

    Raises:
        StoreError: images cannot be read, or the shard cannot be written.
    """
    findings, samples, rows = Findings(), [], []
    for number, entry in part.images:
        data = read(source, entry)
        try:
            found = examine(data)
        except DataError as error:
            findings.reject(entry.name, error)
            continue
        findings.add(data, part.split, entry.label, found, part.show_share)
        rows.append(seen(data, number, entry.label, part.split))
        key = sample_key(f"{number:08d}", entry.name)
        samples.append(Sample(key, entry.label, _jpeg(data, found, settings.short_side_px)))
    shard = write_shard(destination, part.shard, samples) if samples else None
    record = Record(shard, findings, np.array(rows, SEEN))
    destination.write(f"{work}/{part.shard}.json", _to_json(record))
    return record


def read_record(destination: Store, name: str) -> Record:
    """A part's record.

    Raises:
        StoreError: it cannot be read.
    """
    tree = json.loads(destination.read(name))
    shard = tree["shard"]
    if shard:
        shard = Shard(
            name=shard["name"],
            num_samples=shard["num_samples"],
            index_sha256=bytes.fromhex(shard["index_sha256"]),
        )
    rows = np.frombuffer(b64decode(tree["seen"]), SEEN)
    return Record(shard, Findings.from_plain(tree["findings"]), rows)


def _to_json(record: Record) -> bytes:
    shard = record.shard and {
        "name": record.shard.name,
        "num_samples": record.shard.num_samples,
        "index_sha256": record.shard.index_sha256.hex(),
    }
    tree = {
        "shard": shard,
        "findings": record.findings.to_plain(),
        "seen": b64encode(record.seen.tobytes()).decode(),
    }
    return json.dumps(tree).encode()


def _jpeg(data: bytes, found: Examined, short_side_px: int | None) -> bytes:
    """The file itself if it is a JPEG that need not be scaled down; else it is encoded anew."""
    pixels = found.pixels
    if short_side_px and min(pixels.shape[:2]) > short_side_px:
        pixels = images.resize_short_side(pixels, short_side_px)
    elif found.format == "JPEG":
        return data
    return images.encode_jpeg(pixels, JPEG_QUALITY)
