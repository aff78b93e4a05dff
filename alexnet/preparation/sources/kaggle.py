"""ImageNet-1k as Kaggle's competition has it: `ILSVRC/Data/CLS-LOC`, with labels in CSV files."""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from alexnet.dataset.sample_names import printable
from alexnet.errors import DataError
from alexnet.preparation.sources import image_folder
from alexnet.preparation.sources.folder_layout import parts
from alexnet.preparation.sources.listing import Contents, Entry, Listing, read
from alexnet.preparation.sources.suffixes import is_image
from alexnet.storage.store import Store

SOLUTION = "LOC_val_solution.csv"
FOLDER = "ILSVRC/Data/CLS-LOC/"

_OF_KAGGLE = re.compile(r"(?:^|/)(?:ILSVRC/(?:Annotations|ImageSets)/|LOC_\w+\.(?:csv|txt)$)")
"""What the competition has beside its images: boxes, lists and labels."""


def fits(files: Iterable[Entry]) -> bool:
    """Whether files are laid out so."""
    return any(FOLDER in entry.name for entry in files)


def listing(where: str, store: Store, found: Contents) -> Listing:
    """The images of the competition's training and validation folders.

    Raises:
        StoreError: the labels cannot be read.
        DataError: they do not fit the images.
    """
    files: list[Entry] = []
    truth: dict[str, str] | None = None
    for entry in found.files:
        *folders, base = parts(entry.name)
        if not is_image(entry.name) and _OF_KAGGLE.search(entry.name):
            found.account.pass_over("tables of Kaggle", entry.name)
        elif is_image(entry.name) and "/".join(folders[-4:]) == f"{FOLDER}val":
            truth = _truth(where, store, found.files) if truth is None else truth
            label = truth.get(PurePosixPath(base).stem)
            if not label:
                name = printable(base)
                raise DataError(f"{where}: {SOLUTION} has no label of {name}. Download both anew.")
            files.append(entry._replace(name="/".join([*folders, label, base])))
        else:
            files.append(entry)
    return image_folder.listing(where, found._replace(files=files))


def _truth(where: str, store: Store, files: list[Entry]) -> dict[str, str]:
    """Synset of each validation image by its name without suffix."""
    found = [entry for entry in files if PurePosixPath(entry.name).name == SOLUTION]
    if not found:
        raise DataError(f"{where}: {FOLDER} without {SOLUTION}. Put it beside the folder ILSVRC.")
    text = read(store, found[0]).decode("utf-8-sig", "replace")
    # Spreadsheets write other delimiters where a comma separates decimals.
    delimiter = next((each for each in ",;\t" if each in text.partition("\n")[0]), ",")
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    try:
        return {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}
    except (KeyError, IndexError, AttributeError) as error:
        raise DataError(
            f"{where}: {SOLUTION} has no column ImageId or PredictionString with a class in each "
            "row. Download it anew."
        ) from error
