"""What became of everything that a source has: each file, link and member ends in one of four ways.

It is an image that is used or rejected (`statistics.Findings` counts these), it is passed over by a
rule that has a name, or it is no image by its suffix. What was listed is counted apart from what
became of it, so that the sum can be checked.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from alexnet.dataset.sample_names import printable
from alexnet.errors import DataError

MAX_NAMES = 5
"""Shown of each kind."""

MAX_KINDS = 3
"""Named in the line; the report has all."""


@dataclass(slots=True)
class Kind:
    """Files of one kind."""

    count: int = 0
    names: tuple[str, ...] = ()
    """The first `MAX_NAMES` of them, sorted."""

    def add(self, count: int, *names: str) -> None:
        """Count some more."""
        self.count += count
        if len(self.names) < MAX_NAMES or min(names) < self.names[-1]:
            self.names = tuple(sorted({*self.names, *names})[:MAX_NAMES])


@dataclass(slots=True)
class Account:
    """What a source has beside its images."""

    found: int = 0
    """Files, links and members that were listed, images among them."""
    passed_over: dict[str, Kind] = field(default_factory=dict)
    """By the name of the rule."""
    not_images: dict[str, Kind] = field(default_factory=dict)
    """By suffix."""

    def pass_over(self, rule: str, name: str) -> None:
        """Count a file that a rule passes over."""
        self.passed_over.setdefault(rule, Kind()).add(1, printable(name))

    def not_image(self, name: str) -> None:
        """Count a file that is no image by its suffix."""
        self.not_images.setdefault(suffix_of(name), Kind()).add(1, printable(name))

    def merge(self, other: "Account") -> None:
        """Count all that another part of the source has."""
        self.found += other.found
        for mine, theirs in (
            (self.passed_over, other.passed_over),
            (self.not_images, other.not_images),
        ):
            for name, kind in theirs.items():
                mine.setdefault(name, Kind()).add(kind.count, *kind.names)

    def check(self, where: str, num_images: int) -> None:
        """Hold the account to its sum.

        Args:
            where: what messages call the source.
            num_images: that were used or rejected.

        Raises:
            DataError: something that was listed is in none of the ways, or in two.
        """
        others = count(self.passed_over) + count(self.not_images)
        if self.found != num_images + others:
            raise DataError(
                f"{where}: {self.found} files were listed, and {num_images} images and {others} "
                "others accounted for. This is a fault of the preparation: report it, and do not "
                "train on the data."
            )


def suffix_of(name: str) -> str:
    """What files without the suffix of an image are counted by."""
    base = name.rpartition("/")[2]
    stem, _, suffix = base.rpartition(".")
    return _counted(suffix.lower()) if stem and suffix else "no suffix"


@lru_cache(maxsize=256)
def _counted(suffix: str) -> str:
    # Numbers and dates would be endless.
    return f".{suffix}" if re.fullmatch(r"(?!\d+$)\w{1,12}", suffix) else "another suffix"


def count(kinds: Mapping[str, Kind]) -> int:
    """Files of all kinds."""
    return sum(kind.count for kind in kinds.values())


def to_tree(account: Account) -> dict[str, Any]:
    """The account as JSON has it."""
    return {
        "found": account.found,
        "passed_over": {name: asdict(kind) for name, kind in sorted(account.passed_over.items())},
        "not_images": {name: asdict(kind) for name, kind in sorted(account.not_images.items())},
    }


def line(account: Account, used: int, rejected: int) -> str:
    """The account in a line: `used 96, rejected 3, passed over 2 (.DS_Store 2), not images 0`."""
    return (
        f"used {used:,}, rejected {rejected:,}, "
        f"passed over {_with_kinds(account.passed_over)}, "
        f"not images {_with_kinds(account.not_images)}"
    )


def _with_kinds(kinds: Mapping[str, Kind]) -> str:
    """Their number, and the kinds that have most."""
    most = sorted(kinds.items(), key=lambda item: (-item[1].count, item[0]))
    named = [f"{name} {kind.count:,}" for name, kind in most[:MAX_KINDS]]
    named += ["..."] if len(most) > MAX_KINDS else []
    return f"{count(kinds):,}" + (f" ({', '.join(named)})" if named else "")
