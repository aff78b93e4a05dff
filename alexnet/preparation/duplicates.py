"""Finds images that occur more than once, within a split or across splits."""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet.preparation.statistics import MAX_LISTED

SEEN = np.dtype([("hash", "<u8"), ("number", "<u8"), ("label", "<u4"), ("split", "u1")])
"""What is kept of an image to find it again: the first 8 bytes of the SHA-256 of its file, its
number, its label, its split. Among 10^6 images two different ones share a hash with a probability
of 3 in 10^8, among 10^9 of 3 %."""


PASS_BYTES = 256 * 2**20
"""Memory of one pass over all hashes."""


def seen(data: bytes, number: int, label: int, split: str) -> tuple[int, int, int, int]:
    """A row of dtype `SEEN`."""
    return int.from_bytes(sha256(data).digest()[:8], "little"), number, label, split == "val"


KINDS = ("conflicting labels", "in both splits", "repeated")


class Duplicates(NamedTuple):
    """Images whose files are the same to the byte."""

    within: int
    """Images that repeat another one of their split."""
    across: int
    """Validation images that are training images too: leaks."""
    conflicts: int
    """Groups of the same image under different labels."""
    groups: list[list[int]]
    """Numbers of the images of each group, the first `MAX_LISTED`: conflicts, then leaks first."""
    kinds: list[str]
    """What each group is: one of `KINDS`."""


def duplicates(parts: Callable[[], Iterable[NDArray[np.void]]], total: int) -> Duplicates:
    """Find equal files in as many passes over all hashes as memory asks for.

    Args:
        parts: gives arrays of dtype `SEEN`, the same ones each time it is called.
        total: images in all of them.
    """
    passes = 1 + total * SEEN.itemsize // PASS_BYTES
    within = across = conflicts = 0
    groups: list[tuple[int, list[int]]] = []
    for number in range(passes):
        rows = [part[part["hash"] % passes == number] for part in parts()]
        for group in _equal(np.concatenate(rows) if rows else np.zeros(0, SEEN)):
            in_val = int(group["split"].sum())
            leaks = in_val if in_val < len(group) else 0
            conflict = len(np.unique(group["label"])) > 1
            repeats_train = max(0, len(group) - in_val - 1)
            across += leaks
            within += repeats_train + max(0, in_val - 1)
            conflicts += conflict
            rank = 0 if conflict else 1 if leaks else 2
            groups.append((rank, sorted(group["number"].tolist())))
        groups = sorted(groups)[:MAX_LISTED]
    return Duplicates(
        within, across, conflicts, [group for _, group in groups], [KINDS[r] for r, _ in groups]
    )


def _equal(rows: NDArray[np.void]) -> Iterator[NDArray[np.void]]:
    """Groups of two or more rows with the same hash."""
    rows = rows[np.argsort(rows["hash"], kind="stable")]
    starts = np.flatnonzero(np.diff(rows["hash"])) + 1
    sizes = np.diff([0, *starts, len(rows)])
    for start, size in zip([0, *starts], sizes, strict=True):
        if size > 1:
            yield rows[start : start + size]
