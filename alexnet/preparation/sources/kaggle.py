"""ImageNet-1k as Kaggle's competition has it: `ILSVRC/Data/CLS-LOC`, with labels in CSV files."""

import csv
import io
from collections.abc import Iterable
from pathlib import PurePosixPath

from alexnet.errors import DataError
from alexnet.preparation.sources.image_folder import is_image
from alexnet.preparation.sources.listing import Entry, Listing, listed, read
from alexnet.storage.store import Store

SOLUTION = "LOC_val_solution.csv"
FOLDER = "ILSVRC/Data/CLS-LOC/"


def fits(files: Iterable[Entry]) -> bool:
    """Whether files are laid out so."""
    return any(FOLDER in entry.name for entry in files)


def listing(where: str, store: Store, files: list[Entry]) -> Listing:
    """The images of the competition's training and validation folders.

    Raises:
        StoreError: the labels cannot be read.
        DataError: they do not fit the images.
    """
    synsets, entries = set(), []
    truth = _truth(where, store, files)
    for entry in files:
        parts = PurePosixPath(entry.name.partition(FOLDER)[2]).parts
        if not is_image(entry.name) or len(parts) < 2:
            continue
        if parts[0] == "train" and len(parts) == 3:
            synsets.add(parts[1])
            entries.append((parts[1], entry._replace(name="/".join(parts), split="train")))
        elif parts[0] == "val":
            image = PurePosixPath(parts[1]).stem
            if image not in truth:
                raise DataError(
                    f"{where}: {SOLUTION} has no label of {parts[1]}. Download both anew."
                )
            name = f"val/{truth[image]}/{parts[1]}"
            entries.append((truth[image], entry._replace(name=name, split="val")))
    labels = {synset: label for label, synset in enumerate(sorted(synsets))}
    unknown = {synset for synset, _ in entries} - set(labels)
    if unknown:
        raise DataError(
            f"{where}: class {min(unknown)} has validation images and no training images. Download "
            "the data anew."
        )
    if not any(entry.split == "val" for _, entry in entries):
        entries = [(synset, entry._replace(split="")) for synset, entry in entries]
    return listed(
        where, sorted(labels), (entry._replace(label=labels[synset]) for synset, entry in entries)
    )


def _truth(where: str, store: Store, files: list[Entry]) -> dict[str, str]:
    """Synset of each validation image by its name without suffix."""
    found = [entry for entry in files if PurePosixPath(entry.name).name == SOLUTION]
    if not found:
        raise DataError(f"{where}: {FOLDER} without {SOLUTION}. Put it beside the folder ILSVRC.")
    rows = csv.DictReader(io.StringIO(read(store, found[0]).decode("utf-8", "replace")))
    try:
        return {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}
    except (KeyError, IndexError, AttributeError) as error:
        raise DataError(
            f"{where}: {SOLUTION} has no column ImageId or PredictionString with a class in each "
            "row. Download it anew."
        ) from error
