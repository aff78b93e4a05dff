"""Kaggle's layout: labels of validation images come from the solution file."""

import pytest

from alexnet.errors import DataError
from alexnet.preparation import sources
from tests.tars import tar_of, write

ROOT = "ILSVRC/Data/CLS-LOC"
FILES = {
    f"{ROOT}/train/n01440764/n01440764_1.JPEG": b"a",
    f"{ROOT}/train/n01443537/n01443537_1.JPEG": b"b",
    f"{ROOT}/val/ILSVRC2012_val_00000001.JPEG": b"c",
    f"{ROOT}/val/ILSVRC2012_val_00000002.JPEG": b"d",
    f"{ROOT}/test/ILSVRC2012_test_00000001.JPEG": b"no label",
    "LOC_val_solution.csv": (
        b"ImageId,PredictionString\n"
        b"ILSVRC2012_val_00000002,n01440764 85 1 499 272 \n"
        b"ILSVRC2012_val_00000001,n01443537 1 2 3 4 n01443537 5 6 7 8\n"
    ),
}


def labelled(listing):
    entries = [listing.entry(i) for i in range(len(listing))]
    return [(entry.name.rpartition("/")[2], entry.split, entry.label) for entry in entries]


EXPECTED = [
    ("n01440764_1.JPEG", "train", 0),
    ("n01443537_1.JPEG", "train", 1),
    ("ILSVRC2012_val_00000002.JPEG", "val", 0),
    ("ILSVRC2012_val_00000001.JPEG", "val", 1),
]


def test_a_folder_is_listed_with_labels_of_the_solution(tmp_path):
    listing = sources.open_source(write(tmp_path, FILES))
    assert listing.classes == ("n01440764", "n01443537")
    assert labelled(listing) == EXPECTED


@pytest.mark.parametrize(
    "saved",
    [
        lambda table: b"\xef\xbb\xbf" + table,
        lambda table: table.replace(b"\n", b"\r\n"),
        lambda table: table.replace(b",", b";"),
        lambda table: b"\xef\xbb\xbf" + table.replace(b",", b"\t").replace(b"\n", b"\r\n"),
    ],
    ids=["byte-order mark", "CRLF", "semicolons", "all, with tabs"],
)
def test_a_solution_that_a_spreadsheet_has_saved_says_the_same(tmp_path, saved):
    files = FILES | {"LOC_val_solution.csv": saved(FILES["LOC_val_solution.csv"])}
    assert labelled(sources.open_source(write(tmp_path, files))) == EXPECTED


def test_a_tar_is_listed_as_its_folder(tmp_path):
    store = write(tmp_path, {"kaggle.tar": tar_of(FILES.items())})
    assert labelled(sources.open_source(store, "kaggle.tar")) == EXPECTED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"LOC_val_solution.csv": None}, "without LOC_val_solution.csv"),
        ({"LOC_val_solution.csv": b"a,b\n1,2\n"}, "has no column ImageId"),
        ({f"{ROOT}/val/ILSVRC2012_val_00000003.JPEG": b"e"}, "no label of ILSVRC2012_val_00000003"),
        (
            {f"{ROOT}/train/n01440764/n01440764_1.JPEG": None},
            "class .n01440764. has images in one of",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    files = {name: data for name, data in (FILES | change).items() if data is not None}
    with pytest.raises(DataError, match=message):
        sources.open_source(write(tmp_path, files))
