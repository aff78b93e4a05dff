"""Images of a listing to new shards: what is in each follows from listing and settings alone."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet import images, seeds
from alexnet.dataset.manifest import Manifest
from alexnet.dataset.sample_names import printable
from alexnet.dataset.shard_writer import Sample, sample_key, write_shard
from alexnet.errors import ConfigError, DataError
from alexnet.preparation import validation_split
from alexnet.preparation.duplicates import SEEN, seen
from alexnet.preparation.image_inspection import Examined, examine
from alexnet.preparation.job import Job, name_of
from alexnet.preparation.part_record import PartRecord
from alexnet.preparation.sources.listing import Entry, Listing, read
from alexnet.preparation.statistics import MAX_THUMBNAILS, Findings
from alexnet.storage.store import Store

VERSION = 2
"""Of what a part is made into; raised when the same input gives other bytes."""

JPEG_QUALITY = 95
"""Of images that are re-encoded; at 95 and 4:4:4 the loss is not visible."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What new shards are made to be.

    Raises:
        ConfigError: a value breaks its rule.
    """

    seed: int = 0
    """Of the order in which training images lie in the shards."""
    samples_per_shard: int = 1000
    """About 110 MB of original ImageNet files: large enough for fast reads, small enough to
    spread."""
    short_side_px: int | None = None
    """Larger images are scaled down to this short side; None leaves sizes as they are."""
    val_share: float | None = None
    """Share of the images of each class that becomes the validation split where the source has
    none; None: `validation_split.default_share`."""

    def __post_init__(self) -> None:
        for option, value, least in (
            ("--seed", self.seed, 0),
            ("--samples-per-shard", self.samples_per_shard, 1),
            ("--short-side", 1 if self.short_side_px is None else self.short_side_px, 1),
        ):
            if value < least:
                raise ConfigError(f"{option} {value}: must be {least} or more.")
        if self.val_share is not None and not 0 <= self.val_share < 1:
            raise ConfigError(f"--val-share {self.val_share:g}: must be in [0, 1).")


class Part(NamedTuple):
    """The images of one shard."""

    shard: str
    split: str
    images: list[tuple[int, Entry]]
    """Number in the listing, and the image."""
    show_share: float
    """See `Findings.add`."""

    def version(self, _: Store) -> str:
        """Of the images: another text if one was written anew."""
        return hashlib.sha256(repr([entry for _, entry in self.images]).encode()).hexdigest()


def job(
    destination: Store,
    source: Store,
    listing: Listing,
    settings: Settings,
    base: Manifest | None = None,
) -> Job:
    """The preparation of a listing.

    Args:
        destination: where the shards go.
        source: where the images are.
        listing: of them.
        settings: of the shards.
        base: the data set that is added to; its classes are kept.

    Raises:
        DataError: a split would be empty, or a class is not one of the base's.
    """
    name = base.name if base else name_of(destination)
    if base:
        listing = listing.with_classes(base.classes)
    order = orders(listing, settings, growing=base is not None)
    first = {split: len(base.split(split)) if base else 0 for split in order}
    identity = [VERSION, name, asdict(settings), listing.digest(), base and base.digest]
    return Job(
        name=name,
        where=listing.where,
        classes=listing.classes,
        digest=hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16],
        num_images=len(listing),
        parts=partial(parts, listing, order, first, settings.samples_per_shard),
        make=partial(make, source=source, short_side_px=settings.short_side_px),
        name_of=lambda number, _: printable(listing.entry(number).name),
        found=_found(listing),
        suspicions=listing.suspicions,
    )


def _found(listing: Listing) -> Findings:
    findings = Findings(account=listing.account)
    for name, problem in listing.rejects:
        findings.reject(name, DataError(problem))
    return findings


def parts(
    listing: Listing, order: dict[str, NDArray[np.int64]], first: dict[str, int], per_shard: int
) -> Iterator[Part]:
    """The shards to be made; `first` has the number of each split's first one."""
    for split, numbers in order.items():
        for shard, begin in enumerate(range(0, len(numbers), per_shard), first[split]):
            chosen = numbers[begin : begin + per_shard].tolist()
            yield Part(
                f"{split}-{shard:06d}.tar",
                split,
                [(i, listing.entry(i)) for i in chosen],
                2 * MAX_THUMBNAILS / len(listing),
            )


def orders(
    listing: Listing, settings: Settings, *, growing: bool = False
) -> dict[str, NDArray[np.int64]]:
    """Numbers of each split's images in the order of the shards.

    Training images are shuffled over all shards; validation images keep the order of their names.

    Args:
        listing: of the images.
        settings: of the shards.
        growing: whether they come to a data set that has both splits.

    Raises:
        DataError: a split would be empty.
    """
    train, val = listing.in_split("train"), listing.in_split("val")
    whole = listing.in_split("")
    if not len(val):
        # A source with a training split only is treated as if it had none.
        whole = whole if len(whole) else train
        chosen = _validating(listing, whole, settings.val_share)
        train, val = whole[~chosen], whole[chosen]
    if not growing and (not len(train) or not len(val)):
        raise DataError(
            f"{listing.where}: {len(train)} images to train on and {len(val)} to validate with. "
            "Both need some: add images, or change --val-share."
        )
    return {"train": seeds.generator(settings.seed, "prepare").permutation(train), "val": val}


def _validating(
    listing: Listing, numbers: NDArray[np.int64], share: float | None
) -> NDArray[np.bool_]:
    """Which of the images validate."""
    if share is None:
        share = validation_split.default_share(len(numbers))
    draws = np.array([_draw(listing.entry(i).name) for i in numbers.tolist()], np.uint64)
    return validation_split.validating(draws, listing.rows["label"][numbers], share)


def _draw(name: str) -> int:
    """In [0, 2^63), by the name of class and file."""
    return seeds.derive(0, "val", "/".join(name.split("/")[-2:]))


def make(part: Part, destination: Store, *, source: Store, short_side_px: int | None) -> PartRecord:
    """Write a part's shard and its index.

    Raises:
        StoreError: images cannot be read, or the shard cannot be written.
    """
    findings = Findings()
    samples: list[Sample] = []
    rows: list[tuple[int, ...]] = []
    for number, entry in part.images:
        data = read(source, entry)
        try:
            found = examine(data, convert=True)
        except DataError as error:
            findings.reject(entry.name, error)
            continue
        findings.add(data, part.split, entry.label, found, part.show_share)
        rows.append(seen(data, number, entry.label, part.split))
        # Where it lies tells it from all others of its split, also from those added later.
        key = sample_key(f"{part.shard.removesuffix('.tar')}-{len(samples):05d}", entry.name)
        samples.append(Sample(key, entry.label, _jpeg(data, found, short_side_px)))
    shard = write_shard(destination, part.shard, samples) if samples else None
    seen_rows, version = np.array(rows, SEEN), part.version(destination)
    return PartRecord(part.split, shard, findings, seen_rows, version)


def _jpeg(data: bytes, found: Examined, short_side_px: int | None) -> bytes:
    """The file itself if it is a JPEG that need not be scaled down; else it is encoded again."""
    pixels = found.pixels
    if short_side_px and min(pixels.shape[:2]) > short_side_px:
        pixels = images.resize_short_side(pixels, short_side_px)
    elif found.format == "JPEG":
        return data
    return images.encode_jpeg(pixels, JPEG_QUALITY)
