"""Statistics over the images of a data set, which add up over parts in any order."""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from alexnet import images
from alexnet.dataset.colour_statistics import ColourSums
from alexnet.dataset.sample_names import printable
from alexnet.errors import DataError
from alexnet.preparation import image_inspection
from alexnet.preparation.account import Account
from alexnet.preparation.image_inspection import Examined

MAX_LISTED = 1000
"""Rejected images and pairs of duplicates that are listed by name; all are counted."""

MAX_THUMBNAILS = 120
"""Pictures of the contact sheet."""

THUMBNAIL_PX = 96


class Reject(NamedTuple):
    """An image that cannot be used."""

    name: str
    reason: str
    """One of `examine.Reason`."""
    message: str


class Thumbnail(NamedTuple):
    """A small picture for the contact sheet."""

    order: str
    """Hash of the file: sheets show the smallest, so that any partition shows the same ones."""
    label: int
    jpeg: bytes


@dataclass(slots=True)
class Findings:
    """What was found in a part of the images, or in all."""

    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Usable images by (split, label)."""
    formats: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    """See `Examined.notes`."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Of all rejects."""
    rejects: list[Reject] = field(default_factory=list)
    """The first `MAX_LISTED` by name."""
    short_sides: Counter[int] = field(default_factory=Counter)
    """Images by short side, rounded down to a multiple of 32 px."""
    file_bytes: Counter[int] = field(default_factory=Counter)
    """Images by the power of two below their file size."""
    colours: ColourSums = field(default_factory=ColourSums)
    """Of the training split."""
    thumbnails: list[Thumbnail] = field(default_factory=list)
    account: Account = field(default_factory=Account)
    """Of all that there is beside images."""

    @property
    def num_usable(self) -> int:
        """Images that can be used."""
        return self.counts.total()

    @property
    def num_rejected(self) -> int:
        """Images that cannot."""
        return self.reasons.total()

    def add(
        self, data: bytes, split: str, label: int, found: Examined, show_share: float = 1.0
    ) -> None:
        """Count a usable image.

        Args:
            data: its file.
            split: `train` or `val`.
            label: its class.
            found: of `examine`.
            show_share: share of all images that is offered for the contact sheet; with a large
                data set a small one, so that parts stay small.
        """
        self.counts[split, label] += 1
        self.formats[found.format] += 1
        self.notes.update(found.notes)
        self.short_sides[min(found.pixels.shape[:2]) // 32 * 32] += 1
        self.file_bytes[1 << (len(data).bit_length() - 1)] += 1
        if split == "train":
            self.colours.add(found.pixels)
        order = sha256(data).hexdigest()[:16]
        if int(order, 16) < show_share * 2**64:
            small = images.resize_short_side(found.pixels, THUMBNAIL_PX)
            self._show([Thumbnail(order, label, images.encode_jpeg(small, 80))])

    def reject(self, name: str, error: DataError) -> None:
        """Count an image that cannot be used."""
        kind = image_inspection.reason(error)
        self.reasons[kind] += 1
        self._list([Reject(printable(name), kind, str(error))])

    def merge(self, other: "Findings") -> None:
        """Count all that another part found."""
        for mine, theirs in (
            (self.counts, other.counts),
            (self.formats, other.formats),
            (self.notes, other.notes),
            (self.reasons, other.reasons),
            (self.short_sides, other.short_sides),
            (self.file_bytes, other.file_bytes),
        ):
            mine.update(theirs)  # type: ignore[arg-type]
        self.colours.merge(other.colours)
        self.account.merge(other.account)
        self._list(other.rejects)
        self._show(other.thumbnails)

    def check_budget(self, max_reject_share: float) -> None:
        """Refuse a data set of which too much cannot be used.

        Raises:
            DataError: more than this share is rejected.
        """
        total = self.num_usable + self.num_rejected
        if self.num_rejected > max_reject_share * total:
            common = ", ".join(f"{count} {kind}" for kind, count in self.reasons.most_common(3))
            first = self.rejects[0]
            raise DataError(
                f"{self.num_rejected} of {total} images cannot be used ({common}), more than a "
                f"share of {max_reject_share:g}, such as {first.name}: {first.message}. See the "
                "report, mend them, or raise --max-rejects."
            )

    def check_complete(self, classes: tuple[str, ...]) -> None:
        """Refuse a data set that cannot be trained on or validated with.

        Raises:
            DataError: a class has no training image, or there is no validation image.
        """
        for label, name in enumerate(classes):
            if not self.counts["train", label]:
                raise DataError(
                    f"class {name!r} has no image to train on that can be used. Add some, or "
                    "remove the class."
                )
        if not any(split == "val" for split, _ in self.counts):
            raise DataError("no image to validate with can be used. Add some.")

    def _list(self, rejects: list[Reject]) -> None:
        self.rejects = sorted([*self.rejects, *rejects])[:MAX_LISTED]

    def _show(self, thumbnails: list[Thumbnail]) -> None:
        self.thumbnails = sorted([*self.thumbnails, *thumbnails])[:MAX_THUMBNAILS]
