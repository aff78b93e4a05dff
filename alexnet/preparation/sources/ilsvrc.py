"""The official archives of ILSVRC 2012 (ImageNet-1k), read as they were downloaded.

A tar of 1,000 tars for training, a flat tar for validation, and the development kit with the labels
of the latter. Labels are positions among the sorted synset ids, as torchvision's `ImageNet` has
them, not the kit's own numbers.
"""

import io
import re
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath

from alexnet.errors import DataError
from alexnet.preparation.sources.image_folder import is_image
from alexnet.preparation.sources.listing import Entry, Listing, Spread, listed
from alexnet.preparation.sources.tar_scan import Member, members
from alexnet.storage.store import Store

TRAIN = "ILSVRC2012_img_train.tar"
VAL = "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"


def listing(store: Store, spread: Spread = map) -> Listing:
    """The images of the archives in a folder; without the validation archive, of training alone.

    Args:
        store: the folder.
        spread: scans the archives of the classes side by side.

    Raises:
        StoreError: it cannot be read.
        DataError: an archive is not what its name says, or the labels do not fit.
    """
    inner = [member for member in members(store, TRAIN) if member.name.endswith(".tar")]
    synsets = sorted(PurePosixPath(member.name).stem for member in inner)
    if not inner or not all(re.fullmatch(r"n\d{8}", synset) for synset in synsets):
        raise DataError(
            f"{store.url}/{TRAIN}: not a tar of one tar a class, such as n01440764.tar. Is it the "
            "training archive of ILSVRC 2012?"
        )
    names = set(store.list())
    split = "train" if VAL in names else ""
    labels = {synset: label for label, synset in enumerate(synsets)}
    entries = [
        entry._replace(label=labels[entry.name.split("/")[1]])
        for found in spread(partial(_scan_class, store, split), inner)
        for entry in found
    ]
    if VAL in names:
        entries += _validation(store, labels, DEVKIT in names)
    return listed(store.url, synsets, entries)


def _scan_class(store: Store, split: str, archive: Member) -> list[Entry]:
    """Images of one class's archive inside the training archive."""
    synset = PurePosixPath(archive.name).stem
    found = [
        Entry(f"train/{synset}/{image.name}", split, 0, TRAIN, image.offset, image.length)
        for image in members(store, TRAIN, archive.offset, archive.length)
        if is_image(image.name)
    ]
    if not found:
        raise DataError(f"{store.url}/{TRAIN}: {archive.name} has no image. Copy it again.")
    return found


def _validation(store: Store, labels: dict[str, int], has_kit: bool) -> Iterator[Entry]:
    if not has_kit:
        raise DataError(
            f"{store.url}: {VAL} without {DEVKIT}, which has its labels. Put it beside, or move "
            f"{VAL} away."
        )
    truth = ground_truth(store)
    images = sorted(member for member in members(store, VAL) if is_image(member.name))
    if len(images) != len(truth):
        raise DataError(
            f"{store.url}/{VAL}: {len(images)} images, and {DEVKIT} has labels of {len(truth)}. "
            "Take both from the same release."
        )
    for image, synset in zip(images, truth, strict=True):
        if synset not in labels:
            raise DataError(
                f"{store.url}/{VAL}: {image.name} is of class {synset}, which {TRAIN} has no "
                "images of. Take both from the same release."
            )
        name = f"val/{synset}/{PurePosixPath(image.name).name}"
        yield Entry(name, "val", labels[synset], VAL, image.offset, image.length)


def ground_truth(store: Store) -> list[str]:
    """Synset of each validation image in order of their names, from the development kit.

    Raises:
        StoreError: it cannot be read.
        DataError: it is not the development kit.
    """
    from scipy.io import loadmat

    try:
        with tarfile.open(fileobj=io.BytesIO(store.read(DEVKIT)), mode="r:gz") as kit:
            files = {
                PurePosixPath(member.name).name: (kit.extractfile(member) or io.BytesIO()).read()
                for member in kit
            }
        synsets = loadmat(io.BytesIO(files["meta.mat"]), squeeze_me=True)["synsets"]
        leaves = {int(row[0]): str(row[1]) for row in synsets if int(row[4]) == 0}
        numbers = files["ILSVRC2012_validation_ground_truth.txt"].split()
        return [leaves[int(number)] for number in numbers]
    except (tarfile.TarError, KeyError, ValueError, OSError, EOFError) as error:
        raise DataError(
            f"{store.url}/{DEVKIT}: not the development kit: {type(error).__name__}: {error}. "
            "Download it again."
        ) from error
