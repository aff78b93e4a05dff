"""A folder and a tar of the same images are the same listing, labelled as torchvision does."""

import pytest
from torchvision.datasets import ImageFolder

from alexnet.adapters.object_store import open_store
from alexnet.errors import DataError
from alexnet.preparation import sources
from alexnet.preparation.sources.listing import read
from tests.tars import tar_of, write

FILES = {
    "train/cat/1.JPEG": b"a",
    "train/cat/2.png": b"b",
    "train/dog/1.jpg": b"c",
    "train/dog/notes.txt": b"no image",
    "val/cat/1.jpg": b"d",
    "val/dog/1.jpg": b"e",
}


def contents(store, listing):
    entries = [listing.entry(i) for i in range(len(listing))]
    return [(entry.name, entry.split, entry.label, read(store, entry)) for entry in entries]


def test_labels_are_torchvisions(tmp_path):
    store = write(tmp_path, FILES)
    listing = sources.open_source(store)
    reference = ImageFolder(str(tmp_path / "train"))
    expected = [(path.removeprefix(f"{tmp_path}/"), label) for path, label in reference.samples]
    train = [listing.entry(i) for i in listing.in_split("train")]
    assert [(entry.name, entry.label) for entry in train] == expected
    assert list(listing.classes) == reference.classes


@pytest.mark.parametrize("around", ["", "some/where/"])
def test_a_tar_is_listed_as_its_folder(tmp_path, around):
    folder = write(tmp_path / "folder", FILES)
    files = [(around + name, data) for name, data in reversed(FILES.items())]
    tar = write(tmp_path / "tar", {"x.tar": tar_of(files)})
    assert contents(tar, sources.open_source(tar, "x.tar")) == contents(
        folder, sources.open_source(folder)
    )


def test_classes_without_splits_are_listed_without_split(tmp_path):
    files = {name.removeprefix("train/"): data for name, data in FILES.items() if "train" in name}
    listing = sources.open_source(write(tmp_path, files))
    assert listing.classes == ("cat", "dog")
    assert len(listing.in_split("")) == len(listing) == 3


def test_a_listing_changes_its_digest_with_every_image(tmp_path):
    store = write(tmp_path, FILES)
    first = sources.open_source(store).digest()
    assert sources.open_source(store).digest() == first
    (tmp_path / "val" / "dog" / "2.jpg").write_bytes(b"f")
    assert sources.open_source(store).digest() != first


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "nothing is here"),
        ({"notes.txt": b""}, "no image in a folder of its class"),
        ({"1.jpg": b""}, "no image in a folder of its class"),
        ({"val/cat/1.jpg": b""}, "no image under train/CLASS/"),
        (FILES | {"val/cow/1.jpg": b""}, "class 'cow' has images in one of train/ and val/ only"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused_with_the_rule(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        sources.open_source(write(tmp_path, files))


def test_a_tar_of_tars_is_told_where_it_belongs(tmp_path):
    store = write(tmp_path, {"x.tar": tar_of([("n01440764.tar", tar_of([]))])})
    with pytest.raises(DataError, match=r"a tar of tars\. Name the folder that holds ILSVRC2012"):
        sources.open_source(store, "x.tar")


def test_names_that_lead_out_of_a_tar_stay_names(tmp_path):
    files = [
        ("train/a/../../../etc/x.jpg", b"evil"),
        ("train/a/x.jpg", b"a"),
        ("val/a/x.jpg", b"b"),
    ]
    store = write(tmp_path, {"x.tar": tar_of(files)})
    listing = sources.open_source(store, "x.tar")
    assert [data for *_, data in contents(store, listing)] == [b"a", b"b"]


def test_a_folder_that_is_not_there_is_empty():
    with pytest.raises(DataError, match="/nowhere: nothing is here"):
        sources.open_source(open_store("/nowhere"))
