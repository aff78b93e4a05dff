"""What became of one part of a preparation, as it lies in the store until all parts are made."""

from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet.dataset.colour_statistics import ColourSums
from alexnet.dataset.manifest import Shard
from alexnet.errors import DataError
from alexnet.preparation.account import Account, Kind
from alexnet.preparation.duplicates import SEEN
from alexnet.preparation.statistics import Findings, Reject, Thumbnail
from alexnet.storage import documents
from alexnet.storage.documents import Reader
from alexnet.storage.store import Store


class PartRecord(NamedTuple):
    """Of one part."""

    split: str
    """`train` or `val`."""
    shard: Shard | None
    """None if no image of the part can be used."""
    findings: Findings
    seen: NDArray[np.void]
    """(usable images,) of dtype `SEEN`."""
    version: str = ""
    """Of what it was made from, as the part has it: of anything else the record tells nothing."""

    @property
    def num_images(self) -> int:
        """Images that were looked at."""
        return self.findings.num_usable + self.findings.num_rejected


def read(store: Store, name: str) -> PartRecord:
    """A part's record.

    Raises:
        DataError: it is damaged.
        StoreError: it cannot be read.
    """
    found = READER.read(store, name)
    try:
        ColourSums().merge(found.findings.colours)  # as many sums as there must be
        return PartRecord(
            found.split,
            found.shard.shard() if found.shard else None,
            found.findings.findings(),
            np.frombuffer(b64decode(found.seen), SEEN),
            found.version,
        )
    except ValueError as error:  # base64, hexadecimal digits, or a number of values
        raise READER.damaged(f"{store.url}/{name}", str(error)) from error


def write(store: Store, name: str, record: PartRecord) -> None:
    """Put down what `read` reads.

    Raises:
        StoreError: it cannot be written.
    """
    shard = _Shard.of(record.shard) if record.shard else None
    seen, findings = b64encode(record.seen.tobytes()).decode(), _Findings.of(record.findings)
    part = _Part(record.split, shard, findings, seen, record.version)  # type: ignore[arg-type]
    documents.write(store, name, part)


@dataclass(frozen=True, slots=True)
class _Shard:
    name: str
    num_samples: int
    index_sha256: str

    @classmethod
    def of(cls, shard: Shard) -> "_Shard":
        return cls(shard.name, shard.num_samples, shard.index_sha256.hex())

    def shard(self) -> Shard:
        digest = bytes.fromhex(self.index_sha256)
        return Shard(name=self.name, num_samples=self.num_samples, index_sha256=digest)


@dataclass(frozen=True, slots=True)
class _Account:
    """`Account` in what JSON has."""

    found: int = 0
    passed_over: Mapping[str, Kind] = field(default_factory=dict)
    not_images: Mapping[str, Kind] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Findings:
    """`Findings` in what JSON has."""

    counts: tuple[tuple[str, int, int], ...]
    """Split, label, images."""
    formats: Mapping[str, int]
    notes: Mapping[str, int]
    reasons: Mapping[str, int]
    rejects: tuple[Reject, ...]
    short_sides: tuple[tuple[int, int], ...]
    file_bytes: tuple[tuple[int, int], ...]
    colours: ColourSums
    thumbnails: tuple[tuple[str, int, str], ...]
    """As a `Thumbnail`, the JPEG in base64."""
    account: _Account = _Account()

    @classmethod
    def of(cls, found: Findings) -> "_Findings":
        return cls(
            counts=tuple((*key, images) for key, images in sorted(found.counts.items())),
            formats=dict(found.formats),
            notes=dict(found.notes),
            reasons=dict(found.reasons),
            rejects=tuple(found.rejects),
            short_sides=tuple(found.short_sides.items()),
            file_bytes=tuple(found.file_bytes.items()),
            colours=found.colours,
            thumbnails=tuple(
                (order, label, b64encode(jpeg).decode()) for order, label, jpeg in found.thumbnails
            ),
            account=_Account(
                found.account.found, found.account.passed_over, found.account.not_images
            ),
        )

    def findings(self) -> Findings:
        return Findings(
            counts=Counter({(split, label): images for split, label, images in self.counts}),
            formats=Counter(self.formats),
            notes=Counter(self.notes),
            reasons=Counter(self.reasons),
            rejects=list(self.rejects),
            short_sides=Counter(dict(self.short_sides)),
            file_bytes=Counter(dict(self.file_bytes)),
            colours=self.colours,
            thumbnails=[
                Thumbnail(order, label, b64decode(jpeg)) for order, label, jpeg in self.thumbnails
            ],
            account=Account(
                self.account.found, dict(self.account.passed_over), dict(self.account.not_images)
            ),
        )


@dataclass(frozen=True, slots=True)
class _Part:
    split: Literal["train", "val"]
    shard: _Shard | None
    findings: _Findings
    seen: str
    """In base64."""
    version: str = ""


READER = Reader(
    _Part,
    DataError,
    "Delete it, and repeat the command: the part is made again.",
    fixed=(),  # it lasts as long as the preparation, and never had a schema
)
