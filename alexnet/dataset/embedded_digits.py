"""The embedded data set: scikit-learn's 1,797 scanned digits, installed with it.

So a first run downloads nothing. Alpaydin and Kaynak 1998, UCI "Optical Recognition of Handwritten
Digits"; 8 x 8 pixels with 17 grey levels.
"""

from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from alexnet import images, seeds
from alexnet.dataset import shard_writer
from alexnet.dataset.manifest import Manifest
from alexnet.dataset.shard_writer import Sample
from alexnet.storage.store import Store

SIDE_PX = 64
"""Stored side; eight times the scan's, just above the smallest input that the network takes."""

VAL_EVERY = 5
"""One digit in five, after a fixed shuffle, is validation: 360 of 1,797."""

SAMPLES_PER_SHARD = 256
"""Small, so that a data set of this size still has several shards."""


def write(store: Store) -> Manifest:
    """Write the digits as shards into an empty store.

    Raises:
        DataError: a data set is already there.
        StoreError: it cannot be written.
    """
    everything = list(samples())
    splits = {
        "train": [s for i, s in enumerate(everything) if i % VAL_EVERY],
        "val": everything[::VAL_EVERY],
    }
    classes = [str(digit) for digit in range(10)]
    return shard_writer.write_dataset(store, "digits", classes, splits, SAMPLES_PER_SHARD)


def scanned() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scans (N, 64) in [0, 16], and their digits (N,), as scikit-learn's `load_digits` has them.

    From its file, because to import scikit-learn takes longer than all else that a first run does.
    """
    package = Path(cast(str, cast(ModuleSpec, find_spec("sklearn")).origin)).parent
    table = np.loadtxt(package / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    return table[:, :-1], table[:, -1].astype(np.int64)


def samples() -> Iterator[Sample]:
    """All of them, in an order that is the same each time."""
    scans, labels = scanned()
    for number in seeds.generator(0, "digits").permutation(len(labels)):
        grey = scans[number].reshape(8, 8) / 16
        large = cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
        pixels = np.clip(large * 255, 0, 255).round().astype(np.uint8)
        image = np.repeat(pixels[:, :, None], 3, axis=2)
        yield Sample(f"digit{number:04d}", int(labels[number]), images.encode_jpeg(image))
