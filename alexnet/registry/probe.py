"""A few validation images with their expected logits: tells whether a copy is the same network."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from alexnet.dataset.manifest import Manifest
from alexnet.dataset.shard_reader import SampleRange, ShardReader
from alexnet.errors import DataError
from alexnet.storage.store import ReadableStore

NUM_IMAGES = 8

TOLERANCE = 1e-4
"""Between logits of the same weights on processors of different makes; measured differences on one
machine are 0."""


def images(store: ReadableStore, manifest: Manifest) -> list[bytes]:
    """The first files of the validation split.

    Raises:
        DataError, StoreError: they cannot be read.
    """
    split = manifest.split("val")
    number = min(NUM_IMAGES, split[0].num_samples)
    return [sample.file() for sample in ShardReader(store, split).read(SampleRange(0, 0, number))]


def write(path: Path, files: list[bytes], logits: NDArray[np.float32]) -> None:
    """Keep N images and their logits, (N, K), as a safetensors file."""
    arrays: dict[str, NDArray[Any]] = {
        "files": np.frombuffer(b"".join(files), np.uint8),
        "lengths": np.array([len(file) for file in files], np.int64),
        "logits": logits,
    }
    save_file(arrays, path)


def read(path: Path) -> tuple[list[bytes], NDArray[np.float32]]:
    """What `write` wrote.

    Raises:
        DataError: the file is damaged.
    """
    try:
        arrays = load_file(path)
        data, ends = arrays["files"].tobytes(), np.cumsum(arrays["lengths"]).tolist()
        logits = arrays["logits"]
    except (SafetensorError, OSError, KeyError) as error:
        raise DataError(f"{path}: damaged: {error}. Register the checkpoint again.") from error
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)], logits
