"""Layouts that people have: understood as they are meant, or refused with what to do about it."""

import os
import shutil

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.errors import DataError
from alexnet.preparation import sources
from tests.tars import write


def listed(folder, names):
    """Split, class and file name of each image in a folder of files with these names."""
    write(folder, {name: name.encode() for name in names.split()})
    return entries(folder)


def entries(folder):
    listing = sources.open_source(open_store(str(folder)))
    found = [listing.entry(i) for i in range(len(listing))]
    return {
        f"{entry.split}:{listing.classes[entry.label]}:{entry.name.rpartition('/')[2]}"
        for entry in found
    }


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("cat/1.jpg test/2.jpg dev/3.x cow/4.jpg", ":cat:1.jpg :test:2.jpg :cow:4.jpg"),
        ("cat/1.jpg dev/2.jpg", ":cat:1.jpg :dev:2.jpg"),
        ("train/test/1.jpg train/dev/2.jpg", "train:test:1.jpg train:dev:2.jpg"),
        ("Train/cat/1.jpg Train/dog/2.jpg valid/cat/3.jpg", "train:cat:1.jpg train:dog:2.jpg"),
        ("training/a/1.jpg training/b/2.jpg test/a/3.jpg", "train:a:1.jpg train:b:2.jpg"),
        ("train/a/1.jpg train/b/2.jpg test/3.jpg", "train:a:1.jpg train:b:2.jpg"),
        ("train/a/1.jpg train/b/2.jpg Test/x/y/3.jpg", "train:a:1.jpg train:b:2.jpg"),
        ("a/images/1.jpg b/images/2.jpg", ":a:1.jpg :b:2.jpg"),
        ("train/a/x/1.jpg train/b/x/2.jpg val/a/x/3.jpg", "train:a:1.jpg train:b:2.jpg"),
        ("set/train/a/1.jpg set/train/b/2.jpg set/read.me", "train:a:1.jpg train:b:2.jpg"),
        ("a/1.jpe b/2.JFIF b/3.WebP b/4.tif", ":a:1.jpe :b:2.JFIF :b:3.WebP :b:4.tif"),
        ("a/1.jpg b/2.jpg .ipynb_checkpoints/2.jpg b/@eaDir/2.jpg", ":a:1.jpg :b:2.jpg"),
        ("a/1.jpg b/2.jpg b/._2.jpg __MACOSX/b/._2.jpg .git/x.jpg", ":a:1.jpg :b:2.jpg"),
    ],
)
def test_a_layout_is_understood(tmp_path, names, expected):
    found = {each for each in listed(tmp_path, names) if not each.startswith("val:")}
    assert found == set(expected.split())


@pytest.mark.parametrize("name", ["val", "Val", "valid", "validation", "VALIDATION", "dev"])
def test_a_validation_split_is_known_by_its_names(tmp_path, name):
    found = listed(tmp_path, f"train/a/1.jpg train/b/2.jpg {name}/a/3.jpg {name}/b/4.jpg")
    assert found == {"train:a:1.jpg", "train:b:2.jpg", "val:a:3.jpg", "val:b:4.jpg"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("train/a/1.jpg tset/a/2.jpg", "tset/ lies beside train/ and is no split that is known"),
        ("Train/a/1.jpg train/a/2.jpg", "Train/ and train/ are both the 'train' split"),
        ("train/a/1.jpg val/a/2.jpg dev/a/3.jpg", "dev/ and val/ are both the 'val' split"),
        ("x/train/a/1.jpg y/val/a/2.jpg", "in y/val/ and in x/train/, which is a split"),
        ("train/a/1.jpg train/b/2.jpg train/b/c/3.jpg", "in train/a/ and in train/b/c/, so it"),
        ("train/1.jpg val/2.jpg", "train, val are names of splits, and images lie in them with"),
        ("train2017/1.jpg val2017/2.jpg", "train2017, val2017 are names of splits"),
        ("01_train/1.jpg 02_val/2.jpg", "01_train, 02_val are names of splits"),
        ("images/train/1.jpg images/val/2.jpg labels/train/1.txt", "train, val are names of"),
        ("seg_train/x/a/1.jpg seg_test/x/a/2.jpg", "lie in seg_test, seg_train, which look like"),
        ("images/a/1.jpg masks/a/1.png images/b/2.jpg", "in images/a/ and in masks/a/, so it"),
        ("train/a/1.jpg train/b/2.jpg val/3.jpg", "images lie in val/ without a folder of their"),
        ("val/a/1.jpg val/b/2.jpg", r"no image under train/CLASS/, only in val/"),
        ("test/a/1.jpg test/b/2.jpg", r"no image in a folder of its class \(.*test split 2"),
        ("a/test/1.jpg b/test/2.jpg", "a/test/ is a split inside a class. Put the classes into"),
        ("a/train/1.jpg a/val/2.jpg b/train/3.jpg b/val/4.jpg", "a/train/ is a split inside a"),
        (
            "a/1.jpg b/2.jpg test/a/3.jpg",
            "a/ lies beside test/ .* if it is a class to train on, mo",
        ),
        ("data.zip", "data.zip is an archive, and what is in it is not read. Unpack it"),
        ("a/1.tfrecord", r"no image in a folder of its class \(.*not images 1 \(.tfrecord 1\)"),
        ("in/ILSVRC2012_img_train.tar", "in/ILSVRC2012_img_train.tar is the training archive"),
        ("train/a/1.jpg train/b/2.jpg val/images/3.jpg val/l.txt", "class 'images' has images in "),
        ("train/a/1.jpg train/b/2.jpg val/A/3.jpg", "class 'A' .* train/ has 2, such as 'a'"),
        ("00000/000000000.jpg 00000/000000000.json 00000.parquet", "files that img2dataset wrote"),
    ],
)
def test_a_layout_that_cannot_be_meant_so_is_refused_with_what_was_found(tmp_path, names, message):
    with pytest.raises(DataError, match=message) as caught:
        listed(tmp_path, names)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "change", "expected"),
    [
        ("train/a/1.jpg train/b/2.jpg tset/a/3.jpg", "tset test", 2),
        ("train/a/1.jpg train/b/2.jpg tset/a/3.jpg", "tset ../away", 2),
        ("train/a/1.jpg Train/b/2.jpg", "Train/b train/b", 2),
        ("train/a/1.jpg train/b/2.jpg val/images/3.jpg", "val/images val/a", 3),
        ("train/a/1.jpg train/b/2.jpg val/images/3.jpg", "val ../away", 2),
        ("a/1.jpg b/2.jpg b/c/3.jpg", "b/c/3.jpg b/3.jpg", 3),
        ("set_train/a/1.jpg set_test/a/2.jpg", "set_train train set_test test", 1),
        ("train/1.jpg test/2.jpg", "train train/train test train/test", 2),
        ("in/train/a/1.jpg val/a/2.jpg", "in/train train", 2),
    ],
)
def test_the_advice_of_a_refusal_ends_it(tmp_path, names, change, expected):
    folder = tmp_path / "source"
    with pytest.raises(DataError):
        listed(folder, names)
    places = change.split()
    for old, new in zip(places[::2], places[1::2], strict=True):
        shutil.move(folder / old, folder / "moving")
        (folder / new).parent.mkdir(exist_ok=True)
        shutil.move(folder / "moving", folder / new)
    assert len(entries(folder)) == expected


def test_two_folders_whose_names_print_alike_are_not_one_class(tmp_path):
    for name in (b"caf\xe9", b"caf\\xe9", b"dog"):
        (tmp_path / os.fsdecode(name)).mkdir()
        (tmp_path / os.fsdecode(name) / "1.jpg").write_bytes(b"a")
    with pytest.raises(DataError, match=r"two folders of classes are both written caf\\xe9"):
        entries(tmp_path)
    (tmp_path / os.fsdecode(b"caf\xe9")).rename(tmp_path / "tea")
    assert entries(tmp_path) == {r":caf\xe9:1.jpg", ":dog:1.jpg", ":tea:1.jpg"}
