"""A batch from a loader: the images of a step or a part of it, and which samples were skipped."""

from typing import NamedTuple

import torch
from torch import Tensor

from alexnet.telemetry.epoch_ledger import Skipped


class Batch(NamedTuple):
    """Images of one step, or a part of them."""

    images: Tensor
    """(N, H, W, 3) uint8 RGB."""
    labels: Tensor
    """(N,) int64."""
    ids: Tensor
    """(N,) int64, the sample's position in its split, in manifest order."""
    skipped: tuple[Skipped, ...] = ()
    """Whose places other samples have taken."""
    s3_counts: tuple[int, ...] = ()
    """S3 usage of the process that made it since its last one, see `telemetry/s3_usage.py`."""


def join(parts: list[Batch], device: torch.device) -> Batch:
    """Put parts end to end on a device; from pinned memory the copies overlap with the computation.

    Returns:
        (N, H, W, 3) uint8 images, (N,) labels and ids, N the sum over the parts.
    """
    images, labels, ids = (
        torch.cat(fields) if len(fields) > 1 else fields[0]
        for fields in zip(*(_moved(part, device) for part in parts), strict=True)
    )
    return Batch(images, labels, ids, tuple(item for part in parts for item in part.skipped))


def checksum(ids: Tensor) -> int:
    """A number for a set of samples; those of parts add up to that of the whole.

    Two runs, or a run before and after a restart, have trained on the same images at a step if
    these numbers are equal. The mixing is that of SplitMix64 (Steele, Lea and Flood 2014)
    without its first shift; 2**20 samples stay below 2**53, which floats hold.

    Args:
        ids: (N,) int64.
    """
    mixed = (ids + 1) * -4658895280553007687  # 0xBF58476D1CE4E5B9; wraps
    mixed = (mixed ^ (mixed >> 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return int(((mixed ^ (mixed >> 31)) & 0xFFFFFFFF).sum())


def _moved(part: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    images, labels, ids = (
        field.to(device, non_blocking=True) for field in (part.images, part.labels, part.ids)
    )
    return images, labels, ids
