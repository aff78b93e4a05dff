"""The official archives give the images and labels that torchvision's `ImageNet` gives."""

import io
import tarfile

import numpy as np
import pytest
from scipy.io import savemat
from torchvision.datasets.imagenet import parse_devkit_archive

from alexnet.adapters.object_store import open_store
from alexnet.errors import DataError
from alexnet.preparation import sources
from alexnet.preparation.account import line
from alexnet.preparation.sources import ilsvrc
from alexnet.preparation.sources.listing import read
from tests.tars import tar_of

SYNSETS = ["n03000684", "n01440764", "n02979186"]
"""In the order of the kit's own numbers, which is not the order of labels."""

TRUTH = [3, 1, 2, 2, 1]


def devkit():
    """A development kit with three leaves and an inner node."""
    kinds = [
        ("ILSVRC2012_ID", "O"),
        ("WNID", "O"),
        ("words", "O"),
        ("gloss", "O"),
        ("num_children", "O"),
    ]
    rows = np.zeros((4, 1), kinds)
    for i, synset in enumerate([*SYNSETS, "n00001740"]):
        rows[i, 0] = (i + 1, synset, f"name {i}, other", "what it is", 0 if i < 3 else 2)
    mat = io.BytesIO()
    savemat(mat, {"synsets": rows})
    folder = "ILSVRC2012_devkit_t12/data"
    files = [
        (f"{folder}/meta.mat", mat.getvalue()),
        (
            f"{folder}/ILSVRC2012_validation_ground_truth.txt",
            "".join(f"{number}\n" for number in TRUTH).encode(),
        ),
    ]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def train_archive(synsets=SYNSETS):
    return tar_of(
        [
            (f"{synset}.tar", tar_of([(f"{synset}_{i}.JPEG", b"%d" % i) for i in range(2)]))
            for synset in synsets
        ]
    )


def val_archive(count=5):
    return tar_of([(f"ILSVRC2012_val_{i + 1:08d}.JPEG", b"val %d" % i) for i in range(count)])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / ilsvrc.TRAIN).write_bytes(train_archive())
    (tmp_path / ilsvrc.VAL).write_bytes(val_archive())
    (tmp_path / ilsvrc.DEVKIT).write_bytes(devkit())
    return tmp_path


def test_labels_of_the_validation_images_are_the_kits(folder):
    store = open_store(str(folder))
    assert ilsvrc.ground_truth(store) == [SYNSETS[number - 1] for number in TRUTH]
    listing = sources.open_source(store)
    val = [listing.entry(i) for i in listing.in_split("val")]
    by_image = sorted((entry.name.rpartition("/")[2], entry.label) for entry in val)
    labels = {synset: label for label, synset in enumerate(sorted(SYNSETS))}
    assert [label for _, label in by_image] == [labels[SYNSETS[number - 1]] for number in TRUTH]


def test_torchvision_reads_the_same_kit(folder, monkeypatch):
    import torchvision.datasets.imagenet as reference

    monkeypatch.setattr(reference, "_verify_archive", lambda *args: None)
    parse_devkit_archive(str(folder), ilsvrc.DEVKIT)
    _, wnids = reference.load_meta_file(str(folder))
    assert wnids == ilsvrc.ground_truth(open_store(str(folder)))


def test_every_image_is_read_from_its_archive(folder):
    store = open_store(str(folder))
    listing = sources.open_source(store)
    assert listing.classes == tuple(sorted(SYNSETS))
    entries = [listing.entry(i) for i in range(len(listing))]
    assert [entry.name for entry in entries] == sorted(entry.name for entry in entries)
    train = {e.name: read(store, e) for e in entries if e.split == "train"}
    assert train == {
        f"train/{synset}/{synset}_{i}.JPEG": b"%d" % i for synset in SYNSETS for i in range(2)
    }
    assert sorted(read(store, e) for e in entries if e.split == "val") == [
        b"val %d" % i for i in range(5)
    ]
    assert all(listing.classes[e.label] == e.name.split("/")[1] for e in entries)


def test_without_the_validation_archive_no_image_has_a_split(folder):
    (folder / ilsvrc.VAL).unlink()
    listing = sources.open_source(open_store(str(folder)))
    assert len(listing.in_split("")) == len(listing) == 6


@pytest.mark.slow
def test_in_s3_it_is_the_same_listing(folder, bucket_url):
    store = open_store(bucket_url)
    for path in folder.iterdir():
        store.upload(path, path.name)
    assert (
        sources.open_source(store).digest() == sources.open_source(open_store(str(folder))).digest()
    )


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        (ilsvrc.TRAIN, tar_of([(f"{i}/n01440764.tar", b"") for i in "ab"]), "not a tar of one"),
        (ilsvrc.TRAIN, val_archive(), "not a tar of one tar a class"),
        (ilsvrc.TRAIN, train_archive(SYNSETS[:2]), "of class n02979186, which .* has no images"),
        (ilsvrc.TRAIN, tar_of([("n01440764.tar", tar_of([]))]), "n01440764.tar has no image"),
        (ilsvrc.TRAIN, train_archive()[:2000], "the tar is cut"),
        (ilsvrc.VAL, val_archive(4), "4 images, and .* has labels of 5"),
        (ilsvrc.DEVKIT, b"no kit", "not the development kit"),
        (ilsvrc.DEVKIT, None, "without ILSVRC2012_devkit_t12.tar.gz, which has its labels"),
    ],
)
def test_what_does_not_fit_is_named(folder, file, data, message):
    (folder / file).unlink()
    if data is not None:
        (folder / file).write_bytes(data)
    with pytest.raises(DataError, match=message):
        sources.open_source(open_store(str(folder)))


@pytest.mark.parametrize("other", ["ILSVRC2012_val_00000001 (1).JPEG", "a.JPEG", "z_00000003.JPEG"])
def test_validation_images_that_are_not_those_of_the_kit_by_number_are_refused(folder, other):
    """Their labels would be those of their neighbours."""
    names = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in (1, 2, 4, 5)]
    (folder / ilsvrc.VAL).write_bytes(tar_of([(name, b"val") for name in [*names, other]]))
    with pytest.raises(DataError, match=r"where the image of number 0000000\d should be"):
        sources.open_source(open_store(str(folder)))


@pytest.mark.parametrize("file", ilsvrc.ARCHIVES)
def test_an_archive_that_is_a_link_to_nowhere_is_named(folder, file):
    (folder / file).unlink()
    (folder / file).symlink_to("nowhere")
    with pytest.raises(DataError, match=rf"{file}: a link without its target\. Put it there"):
        sources.open_source(open_store(str(folder)))


def test_what_is_no_image_in_the_archives_is_accounted_for(folder):
    files = [
        (f"{synset}.tar", tar_of([(f"{synset}_1.JPEG", b"1"), ("x.txt", b"")]))
        for synset in SYNSETS
    ]
    (folder / ilsvrc.TRAIN).write_bytes(tar_of([*files, ("README", b""), ("._n01440764.tar", b"")]))
    (folder / "val").mkdir()
    (folder / "val" / "1.JPEG").write_bytes(b"")
    listing = sources.open_source(open_store(str(folder)))
    assert line(listing.account, len(listing), 0) == (
        "used 8, rejected 0, passed over 2 (._* 1, beside the archives 1), "
        "not images 4 (.txt 3, no suffix 1)"
    )
    assert [each.kind for each in listing.suspicions] == ["other-files"]
