"""The same images are the same data set, however they are laid out."""

import json
import tarfile

import numpy as np
import pytest

from alexnet import images
from tests.alexnet.preparation.sources.test_ilsvrc import SYNSETS, TRUTH, devkit
from tests.preparing import index, prepare
from tests.tars import tar_of

ROOT = "ILSVRC/Data/CLS-LOC"


@pytest.fixture(scope="module")
def train():
    """Files of three classes."""
    return {
        f"{synset}/{synset}_{i}.JPEG": picture(10 * label + i)
        for label, synset in enumerate(SYNSETS)
        for i in (1, 10, 2)
    }


@pytest.fixture(scope="module")
def val():
    """Files in the order of the development kit's labels."""
    return {f"ILSVRC2012_val_{i:08d}.JPEG": picture(100 + i) for i in range(1, len(TRUTH) + 1)}


def picture(number):
    pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
    return images.encode_jpeg(pixels)


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def official(folder, train, val):
    """Archives as they are downloaded."""
    tars = [
        (f"{synset}.tar", tar_of((n.partition("/")[2], d) for n, d in train.items() if synset in n))
        for synset in SYNSETS
    ]
    archives = {"train.tar": tar_of(tars), "val.tar": tar_of(val.items())}
    write(folder, {f"ILSVRC2012_img_{name}": data for name, data in archives.items()})
    write(folder, {"ILSVRC2012_devkit_t12.tar.gz": devkit()})


def kaggle(folder, train, val):
    """What Kaggle's archive has."""
    lines = [
        f"{n.partition('.')[0]},{c} 1 2 3 4" for n, c in zip(val, classes_of_val(), strict=True)
    ]
    write(folder, {f"{ROOT}/train/{name}": data for name, data in train.items()})
    write(folder, {f"{ROOT}/val/{name}": data for name, data in val.items()})
    write(folder, {f"{ROOT}/test/ILSVRC2012_test_00000001.JPEG": picture(0)})
    write(folder, {"ILSVRC/Annotations/CLS-LOC/train/n01440764/n01440764_1.xml": b"<a/>"})
    write(
        folder, {"LOC_val_solution.csv": "\n".join(["ImageId,PredictionString", *lines]).encode()}
    )


def image_folder(folder, train, val):
    """What torchvision reads."""
    labelled = zip(val.items(), classes_of_val(), strict=True)
    write(folder, {f"train/{name}": data for name, data in train.items()})
    write(folder, {f"val/{synset}/{name}": data for (name, data), synset in labelled})


def classes_of_val():
    return [SYNSETS[number - 1] for number in TRUTH]


def links(folder, train, val):
    """To the class folders of another place, as several people share one copy."""
    image_folder(folder.parent / "shared", train, val)
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        for place in (folder.parent / "shared" / split).iterdir():
            (folder / split / place.name).symlink_to(place)


def link_to_all(folder, train, val):
    """One link, and what systems leave behind."""
    image_folder(folder.parent / "all", train, val)
    write(folder, {".DS_Store": b"", "__MACOSX/._train": b"", "README.md": b""})
    (folder / "train").symlink_to(folder.parent / "all" / "train")
    (folder / "Validation").symlink_to(folder.parent / "all" / "val")


def shards(folder, train, val):
    """WebDataset shards whose keys are the names of the files."""
    labelled = zip(val.items(), classes_of_val(), strict=True)
    splits = {
        "train": [(name.partition("/")[0], name.partition("/")[2], train[name]) for name in train],
        "val": [(synset, name, data) for (name, data), synset in labelled],
    }
    for split, images_of in splits.items():
        members = [
            each
            for synset, name, data in images_of
            for key in [name.partition(".")[0]]
            for each in ((f"{key}.jpg", data), (f"{key}.cls", synset.encode()))
        ]
        write(folder, {f"{split}-000000.tar": tar_of(members)})


@pytest.mark.parametrize("lay_out", [official, kaggle, links, link_to_all, shards])
def test_the_digest_is_that_of_a_folder_of_images(tmp_path, train, val, lay_out):
    image_folder(tmp_path / "plain", train, val)
    lay_out(tmp_path / "other", train, val)
    expected = prepare(tmp_path / "plain", tmp_path / "one" / "set").manifest
    assert prepare(tmp_path / "other", tmp_path / "two" / "set").manifest.digest == expected.digest
    assert expected.num_samples("val") == len(val)


def test_a_tar_of_the_folder_has_its_digest(tmp_path, train, val):
    image_folder(tmp_path / "plain", train, val)
    with tarfile.open(tmp_path / "images.tar", "w") as tar:
        tar.add(tmp_path / "plain", "plain")
    expected = prepare(tmp_path / "plain", tmp_path / "one" / "set").manifest
    found = prepare(tmp_path, tmp_path / "two" / "set", archive="images.tar").manifest
    assert found.digest == expected.digest


def img2dataset(folder, train):
    """A download of two parts, its classes as a column of the list of addresses."""
    for part in range(2):
        members = []
        for number, (name, data) in enumerate(list(train.items())[part::2]):
            key, label = f"{part:05d}{number:04d}", SYNSETS.index(name.partition("/")[0])
            info = {"caption": "", "url": "http://x/", "key": key, "label": label}
            members += [(f"{key}.jpg", data), (f"{key}.txt", b"")]
            members.append((f"{key}.json", json.dumps(info).encode()))
        write(folder, {f"{part:05d}.tar": tar_of(members), f"{part:05d}.parquet": b"PAR1"})
        write(folder, {f"{part:05d}_stats.json": b"{}"})


def files_of(folder, train):
    """The images under the names that img2dataset gives them, by class."""
    for part in range(2):
        for number, (name, data) in enumerate(list(train.items())[part::2]):
            label = SYNSETS.index(name.partition("/")[0])
            write(folder, {f"{label}/{part:05d}{number:04d}.jpg": data})


def test_the_tars_of_img2dataset_written_anew_have_the_digest_of_a_folder(tmp_path, train):
    img2dataset(tmp_path / "tars", train)
    files_of(tmp_path / "plain", train)
    expected = prepare(tmp_path / "plain", tmp_path / "one" / "set").manifest
    found = prepare(tmp_path / "tars", tmp_path / "two" / "set")
    assert found.manifest.digest == expected.digest
    assert found.account == (
        "used 9, rejected 0, passed over 2 (statistics of img2dataset 2), "
        "not images 20 (.json 9, .txt 9, .parquet 2)"
    )


def test_shards_written_anew_keep_their_splits_and_name_what_has_no_image(tmp_path, train, val):
    """From a folder that is only read."""
    splits = {"train": train, "val": dict(zip(classes_of_val(), val.values(), strict=True))}
    for split, files in splits.items():
        members = [("x.cls", b"n01440764")]
        for name, data in files.items():
            key = f"{split}{len(members)}"
            members += [(f"{key}.jpg", data), (f"{key}.cls", name.partition("/")[0].encode())]
        write(tmp_path / "tars", {f"{split}-0.tar": tar_of(members)})
    before = sorted(path.name for path in (tmp_path / "tars").iterdir())
    made = prepare(tmp_path / "tars", tmp_path / "set", max_rejects=0.5)
    assert made.manifest.classes == tuple(sorted(SYNSETS))
    assert [made.manifest.num_samples(split) for split in ("train", "val")] == [9, len(set(TRUTH))]
    assert "rejected 2" in made.account
    assert sorted(path.name for path in (tmp_path / "tars").iterdir()) == before


def test_links_to_the_tars_of_img2dataset_are_the_same_data_set(tmp_path, train):
    """Indexed in place, its digest is not that of shards that are made of the images."""
    img2dataset(tmp_path / "one" / "set", train)
    (tmp_path / "two" / "set").mkdir(parents=True)
    for path in (tmp_path / "one" / "set").iterdir():
        (tmp_path / "two" / "set" / path.name).symlink_to(path)
    expected = index(tmp_path / "one" / "set")
    assert expected.manifest.num_samples("train") + expected.manifest.num_samples("val") == 9
    assert "statistics of img2dataset 2" in expected.account
    assert index(tmp_path / "two" / "set").manifest.digest == expected.manifest.digest
    made = [prepare(tmp_path / each / "set", tmp_path / each / "new") for each in ("one", "two")]
    assert made[0].manifest.digest == made[1].manifest.digest
