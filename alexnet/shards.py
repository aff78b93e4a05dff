"""Writing shards: WebDataset tars with an index each, and the manifest last.

A sample is two members of a tar, `<key>.jpg` and `<key>.cls` (the label in decimal digits): what
every WebDataset reader expects. Tar headers carry no time and no owner, so the same samples give
the same bytes.
"""

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from alexnet import images, index, manifest
from alexnet.errors import DataError
from alexnet.index import SAMPLE, Index
from alexnet.manifest import Colour, Manifest, Shard
from alexnet.store import Store

COLOUR_SIDE_PX = 32
"""Images are averaged down to this side before their colours are measured: the statistics are of
the scene, not of the JPEG noise, and cost a hundredth."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image to be written."""

    key: str
    """Unique name; becomes the member's name in the tar, so it has no dot and no slash."""
    label: int
    jpeg: bytes


@dataclass(slots=True)
class ColourSums:
    """Sums over pixels that add up to the mean and covariance of RGB values in [0, 1]."""

    pixels: int = 0
    total: np.ndarray = field(default_factory=lambda: np.zeros(3))
    products: np.ndarray = field(default_factory=lambda: np.zeros((3, 3)))

    def add(self, jpeg: bytes) -> None:
        """Count one image, reduced to at most `COLOUR_SIDE_PX` a side."""
        image = images.decode(jpeg, min_side_px=COLOUR_SIDE_PX)
        side = (COLOUR_SIDE_PX, COLOUR_SIDE_PX)
        small = cv2.resize(image, side, interpolation=cv2.INTER_AREA)
        values = small.reshape(-1, 3).astype(np.float64) / 255
        self.pixels += len(values)
        self.total += values.sum(axis=0)
        self.products += values.T @ values

    def colour(self) -> Colour:
        """Mean, standard deviation and principal axes of all pixels counted."""
        mean = self.total / self.pixels
        covariance = self.products / self.pixels - np.outer(mean, mean)
        variances, vectors = np.linalg.eigh(covariance)
        # An eigenvector's sign is arbitrary and may differ between machines: make its largest
        # entry positive, and round, so that the manifest's bytes are the same everywhere.
        signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), range(3)])
        axes = vectors * signs * np.sqrt(np.maximum(variances, 0))
        std = np.sqrt(np.maximum(np.diag(covariance), 1e-4))
        return Colour(
            mean=_rounded(mean),
            std=_rounded(std),
            axes=tuple(_rounded(row) for row in axes[:, ::-1]),
        )


def _rounded(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 5) for value in values)
    return red, green, blue


def write_dataset(
    store: Store,
    name: str,
    classes: list[str],
    splits: Mapping[str, Iterable[Sample]],
    samples_per_shard: int,
) -> Manifest:
    """Write all splits as shards and indexes, and the manifest last.

    Until the manifest is there the folder is not a data set, so an interrupted run cannot be
    trained on. Holds one shard in a temporary file at a time.

    Returns:
        The manifest.

    Raises:
        DataError: the folder already holds a data set, or a split has no sample.
        StoreError: it cannot be written.
    """
    refuse_existing(store)
    colours = ColourSums()
    shards: dict[str, list[Shard]] = {split: [] for split in splits}
    for split, samples in splits.items():
        for number, chunk in enumerate(_chunks(samples, samples_per_shard)):
            shards[split].append(write_shard(store, f"{split}-{number:06d}.tar", chunk))
            if split == "train":
                for sample in chunk:
                    colours.add(sample.jpeg)
        if not shards[split]:
            raise DataError(f"{store.url}: the {split!r} split has no image, so nothing to write.")
    return manifest.publish(store, name, classes, colours.colour(), shards)


def refuse_existing(store: Store) -> None:
    """Refuse to write where a data set lies.

    Raises:
        DataError: there is a manifest.
        StoreError: the store cannot be reached.
    """
    if store.exists(manifest.MANIFEST_NAME):
        raise DataError(
            f"{store.url}: a data set is already here. Name an empty destination; nothing was "
            "overwritten."
        )


def _chunks(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    chunk: list[Sample] = []
    for sample in samples:
        chunk.append(sample)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def write_shard(store: Store, name: str, samples: list[Sample]) -> Shard:
    """Write a tar and its index; the same samples give the same bytes.

    Raises:
        StoreError: the store cannot be written.
    """
    rows = np.zeros(len(samples), SAMPLE)
    with tempfile.TemporaryDirectory(prefix="shard-") as folder:
        path = Path(folder) / "shard.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for row, sample in enumerate(samples):
                _add(tar, f"{sample.key}.cls", str(sample.label).encode())
                start = _add(tar, f"{sample.key}.jpg", sample.jpeg)
                crc = index.crc32c(sample.jpeg)
                rows[row] = (start, len(sample.jpeg), sample.label, crc)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        data = index.to_bytes(Index(path.stat().st_size, digest, rows))
        store.upload(path, name)
    store.write(index.name_of(name), data)
    return Shard(name=name, num_samples=len(samples), index_sha256=hashlib.sha256(data).digest())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Append a member; the offset of its first data byte in the tar."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o444
    # USTAR headers are one block of 512 bytes; member data starts right behind it.
    start = tar.offset + tarfile.BLOCKSIZE
    tar.addfile(info, io.BytesIO(data))
    return start
