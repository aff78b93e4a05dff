"""Images laid out as `split/class/image`, in a folder or in a tar, as samples for shards.

The layout of torchvision's `ImageFolder`; classes get their labels in alphabetical order, as there.
Names inside a tar are only compared and listed, never used as paths on disk.
"""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from alexnet import images, seeds
from alexnet.errors import DataError
from alexnet.shards import Sample

SPLITS = ("train", "val")

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
"""Files that count as images, in any case; others are passed over."""

JPEG_QUALITY = 95
"""Of images that are re-encoded; at 95 and 4:4:4 the loss is not visible."""

JPEG_START = b"\xff\xd8\xff"


class Source(Protocol):
    """Where the images come from."""

    @property
    def where(self) -> str:
        """What messages call it."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """`split/class/image`, sorted."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of an image file."""
        ...


@dataclass(frozen=True)
class FolderSource:
    """Images in a folder on disk."""

    folder: Path
    names: tuple[str, ...]

    @property
    def where(self) -> str:
        """What messages call it."""
        return str(self.folder)

    def read(self, name: str) -> bytes:
        """The bytes of an image file."""
        return (self.folder / name).read_bytes()


class TarSource:
    """Images in a tar, read in place by their offsets."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        try:
            self._file = path.open("rb")
            with tarfile.open(fileobj=self._file, mode="r:") as tar:
                members = {_tail(m.name): (m.offset_data, m.size) for m in tar if m.isfile()}
        except tarfile.TarError as error:
            raise DataError(
                f"{path}: not an uncompressed tar: {error}. Name a folder or tar of images."
            ) from error
        self._members = {name: place for name, place in members.items() if _is_image(name)}
        self.names = tuple(sorted(self._members))

    def read(self, name: str) -> bytes:
        """The bytes of an image file.

        Raises:
            DataError: the tar ends before them.
        """
        offset, length = self._members[name]
        self._file.seek(offset)
        data = self._file.read(length)
        if len(data) != length:
            raise DataError(f"{self.where}: ends inside {name}: the tar is cut. Copy it again.")
        return data


@dataclass(frozen=True)
class ImageFolder:
    """A source, and the classes found in it."""

    source: Source
    classes: tuple[str, ...]


def open_source(path: str) -> ImageFolder:
    """Find the images of a folder or tar.

    Raises:
        DataError: there is no such thing, a split is empty, or the splits' classes differ.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise DataError(f"{path}: no such folder or tar. Name one with train/ and val/ in it.")
    source: Source
    if place.is_dir():
        found = (_tail(p.relative_to(place).as_posix()) for p in place.rglob("*") if p.is_file())
        source = FolderSource(place, tuple(sorted(name for name in found if _is_image(name))))
    else:
        source = TarSource(place)
    classes = {split: _classes(source, split) for split in SPLITS}
    missing = set(classes["train"]) ^ set(classes["val"])
    if missing:
        raise DataError(
            f"{path}: class {sorted(missing)[0]!r} is in one of train/ and val/ only. Add its "
            "images, or remove it."
        )
    return ImageFolder(source, classes["train"])


def samples(folder: ImageFolder, split: str, short_side_px: int | None) -> Iterator[Sample]:
    """The images of a split in an order shuffled once for all; validation in order of names.

    JPEGs pass unchanged unless they have to be scaled down; other formats are re-encoded.

    Args:
        folder: the source.
        split: `train` or `val`.
        short_side_px: scale larger images down to this short side; None leaves sizes as they are.

    Raises:
        DataError: a file cannot be decoded.
    """
    source = folder.source
    labels = {name: label for label, name in enumerate(folder.classes)}
    names = [name for name in source.names if name.startswith(f"{split}/")]
    if split == "train":
        # Shards of one class each would leave the stream's windows to mix them all alone.
        names = [names[i] for i in seeds.generator(0, "prepare").permutation(len(names))]
    for number, name in enumerate(names):
        label = labels[name.split("/")[1]]
        try:
            jpeg = _jpeg(source.read(name), short_side_px)
        except DataError as error:
            raise DataError(f"{source.where}: {name}: {error} Remove or replace it.") from error
        yield Sample(f"{number:08d}-{_key(name)}", label, jpeg)


def _classes(source: Source, split: str) -> tuple[str, ...]:
    found = {name.split("/")[1] for name in source.names if name.startswith(f"{split}/")}
    if not found:
        raise DataError(
            f"{source.where}: no image under {split}/CLASS/. Expected train/CLASS/IMAGE and "
            "val/CLASS/IMAGE."
        )
    return tuple(sorted(found))


def _tail(name: str) -> str:
    """The last three parts of a path, so that one folder around everything does no harm."""
    return "/".join(PurePosixPath(name).parts[-3:])


def _is_image(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 3 and parts[0] in SPLITS and name.lower().endswith(SUFFIXES)


def _key(name: str) -> str:
    """A file's stem as part of a tar member's name: WebDataset ends the key at the first dot."""
    return re.sub(r"[^\w-]", "_", PurePosixPath(name).stem, flags=re.ASCII)[:80]


def _jpeg(data: bytes, short_side_px: int | None) -> bytes:
    if short_side_px is None and data.startswith(JPEG_START):
        images.decode(data)  # a broken image is refused now, not in the middle of a training
        return data
    image = images.decode(data)
    if short_side_px and min(image.shape[:2]) > short_side_px:
        image = images.resize_short_side(image, short_side_px)
    elif data.startswith(JPEG_START):
        return data
    return images.encode_jpeg(image, quality=JPEG_QUALITY)
