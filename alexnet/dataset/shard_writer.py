"""Writing shards: WebDataset tars with an index each, and the manifest last.

A sample is two members of a tar, `<key>.jpg` and `<key>.cls` (the label in decimal digits): what
every WebDataset reader expects. Tar headers carry no time and no owner, so the same samples give
the same bytes.
"""

import hashlib
import io
import re
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from alexnet import images
from alexnet.dataset import manifest, shard_index
from alexnet.dataset.colour_statistics import COLOUR_SIDE_PX, ColourSums
from alexnet.dataset.manifest import Manifest, Shard
from alexnet.dataset.shard_index import SAMPLE, Index
from alexnet.errors import DataError
from alexnet.storage.store import Store


@dataclass(frozen=True, slots=True)
class Sample:
    """One image to be written."""

    key: str
    """Unique name; becomes the member's name in the tar, so it has no dot and no slash."""
    label: int
    jpeg: bytes


def sample_key(prefix: str, name: str) -> str:
    """A key for an image: WebDataset ends it at the first dot, and tar at 100 characters."""
    stem = re.sub(r"[^\w-]", "_", PurePosixPath(name).stem, flags=re.ASCII)
    return f"{prefix}-{stem[:70]}"


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
                    colours.add(images.decode(sample.jpeg, min_side_px=COLOUR_SIDE_PX))
        if not shards[split]:
            raise DataError(f"{store.url}: the {split!r} split has no image, so nothing to write.")
    return manifest.publish(store, manifest.draft(name, classes, colours.colour(), shards))


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
                crc = shard_index.crc32c(sample.jpeg)
                rows[row] = (start, len(sample.jpeg), sample.label, crc)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        data = shard_index.to_bytes(Index(path.stat().st_size, digest, rows))
        store.upload(path, name)
    store.write(shard_index.name_of(name), data)
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
