"""The official archives of ILSVRC 2012 (ImageNet-1k), read as they were downloaded.

A tar of 1,000 tars for training, a flat tar for validation, and the development kit with the labels
of the latter. Labels are positions among the sorted synset ids, as torchvision's `ImageNet` has
them, not the kit's own numbers.
"""

import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath

from alexnet.dataset.sample_names import printable
from alexnet.errors import DataError
from alexnet.preparation.sources import suspicions
from alexnet.preparation.sources.listing import (
    BESIDE,
    Contents,
    Entry,
    Listing,
    Spread,
    contents,
    listed,
    unpacked,
)
from alexnet.preparation.sources.suffixes import is_image
from alexnet.preparation.sources.tar_scan import Member, members
from alexnet.storage.store import Found, Store

TRAIN = "ILSVRC2012_img_train.tar"
VAL = "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
ARCHIVES = (TRAIN, VAL, DEVKIT)


def refuse_misplaced(where: str, archive: str, names: Iterable[str]) -> None:
    """Refuse tars that are the training archive or what is in it, where its folder is to be named.

    Args:
        where: what messages call the source.
        archive: the tar that is the source; empty for a folder.
        names: of the tars in it.

    Raises:
        DataError: they are.
    """
    if archive:
        raise DataError(f"{where}: a tar of tars. Name the folder that holds {TRAIN} instead.")
    official = next((name for name in names if name.endswith(f"/{TRAIN}")), None)
    if official:
        raise DataError(
            f"{where}: {printable(official)} is the training archive of ILSVRC 2012. Name the "
            "folder that it lies in."
        )


def listing(store: Store, scanned: Sequence[Found], spread: Spread = map) -> Listing:
    """The images of the archives in a folder; without the validation archive, of training alone.

    Args:
        store: the folder.
        scanned: all that is in it.
        spread: scans the archives of the classes side by side.

    Raises:
        StoreError: it cannot be read.
        DataError: an archive is not what its name says, or the labels do not fit.
    """
    versions = {name: version for name, problem, version in scanned if not problem}
    beside = [(name, problem) for name, problem, _ in scanned if name not in ARCHIVES]
    for name, problem, _ in scanned:
        if problem and name in ARCHIVES:
            raise DataError(f"{store.url}/{name}: {problem}. Put it there, or remove it.")
    found = contents((Entry(name, "", 0, name), problem or BESIDE) for name, problem in beside)
    inner, top = [], contents(unpacked(TRAIN, members(store, TRAIN), versions[TRAIN]))
    for entry in top.files:
        if entry.name.endswith(".tar"):
            inner.append(entry)
        else:
            top.account.not_image(entry.name)
    top.account.found -= len(inner)  # what is in them counts
    found.add(top)
    synsets = sorted(PurePosixPath(entry.name).stem for entry in inner)
    one_each = len(set(synsets)) == len(synsets) > 0
    if not one_each or not all(re.fullmatch(r"n\d{8}", synset) for synset in synsets):
        raise DataError(
            f"{store.url}/{TRAIN}: not a tar of one tar a class, such as n01440764.tar. Is it the "
            "training archive of ILSVRC 2012?"
        )
    split = "train" if VAL in versions else ""
    labels = {synset: label for label, synset in enumerate(synsets)}
    entries = []
    for synset, part in spread(partial(_scan_class, store, versions[TRAIN]), inner):
        found.add(part)
        entries += [
            entry._replace(name=f"train/{synset}/{entry.name}", split=split, label=labels[synset])
            for entry in _images(part)
        ]
    if VAL in versions:
        has_kit = DEVKIT in versions
        entries += _validation(store, versions[VAL], labels, found, has_kit=has_kit)
    others = {suffix: kind.count for suffix, kind in found.account.not_images.items()}
    odd = suspicions.other_files(store.url, others, len(entries))
    return listed(store.url, synsets, entries, found, odd)


def _scan_class(store: Store, version: str, archive: Entry) -> tuple[str, Contents]:
    """What one class's archive inside the training archive has."""
    found = members(store, TRAIN, archive.offset, archive.length)
    synset, part = PurePosixPath(archive.name).stem, _contents(found, TRAIN, version)
    if not _images(part):
        raise DataError(f"{store.url}/{TRAIN}: {synset}.tar has no image. Copy it again.")
    return synset, part


def _contents(found: Iterable[Member], file: str, version: str) -> Contents:
    """What is in an archive; what is no image by its suffix is accounted for."""
    part = contents(unpacked(file, found, version))
    for entry in part.files:
        if not is_image(entry.name):
            part.account.not_image(entry.name)
    return part


def _images(found: Contents) -> list[Entry]:
    return [entry for entry in found.files if is_image(entry.name)]


def _validation(
    store: Store, version: str, labels: dict[str, int], found: Contents, *, has_kit: bool
) -> Iterator[Entry]:
    if not has_kit:
        raise DataError(
            f"{store.url}: {VAL} without {DEVKIT}, which has its labels. Put it beside, or move "
            f"{VAL} away."
        )
    truth = ground_truth(store)
    part = _contents(members(store, VAL), VAL, version)
    found.add(part)
    images = sorted(_images(part))
    if len(images) != len(truth):
        raise DataError(
            f"{store.url}/{VAL}: {len(images)} images, and {DEVKIT} has labels of {len(truth)}. "
            "Take both from the same release."
        )
    for number, (image, synset) in enumerate(zip(images, truth, strict=True), 1):
        # The kit's labels are by number: one image that is missing would shift all that follow.
        if not image.name.rpartition(".")[0].endswith(f"_{number:08d}"):
            raise DataError(
                f"{store.url}/{VAL}: {printable(image.name)} where the image of number "
                f"{number:08d} should be, as {DEVKIT} has the labels by number. Copy it again."
            )
        if synset not in labels:
            raise DataError(
                f"{store.url}/{VAL}: {image.name} is of class {synset}, which {TRAIN} has no "
                "images of. Take both from the same release."
            )
        name = f"val/{synset}/{PurePosixPath(image.name).name}"
        yield image._replace(name=name, split="val", label=labels[synset])


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
