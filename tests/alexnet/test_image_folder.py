"""A folder and a tar of the same images are the same data set; what is wrong is named."""

import os
import tarfile

import numpy as np
import pytest

from alexnet import image_folder, images
from alexnet.errors import DataError


def picture(number, side=80):
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (side, side + 10, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pictures"
    for split, count in (("train", 6), ("val", 3)):
        for label, name in enumerate(["cat", "dog"]):
            place = root / split / name
            place.mkdir(parents=True)
            for i in range(count):
                (place / f"{name}.{i}.JPEG").write_bytes(
                    images.encode_jpeg(picture(100 * label + i))
                )
    (root / "train" / "cat" / "notes.txt").write_text("not an image")
    return root


@pytest.fixture
def tar(folder, tmp_path):
    path = tmp_path / "pictures.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(folder, arcname="some/where")
    return path


def all_samples(place, split="train", short_side_px=None):
    return list(image_folder.samples(image_folder.open_source(str(place)), split, short_side_px))


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_tar_gives_the_samples_of_the_folder_it_was_made_of(folder, tar, split):
    assert all_samples(folder, split) == all_samples(tar, split)


def test_classes_are_labelled_in_alphabetical_order(folder):
    assert image_folder.open_source(str(folder)).classes == ("cat", "dog")
    assert all(("dog" in s.key) == bool(s.label) for s in all_samples(folder))


def test_training_images_are_shuffled_and_validation_is_in_order(folder):
    assert [s.label for s in all_samples(folder)] != [0] * 6 + [1] * 6
    assert [s.label for s in all_samples(folder, "val")] == [0] * 3 + [1] * 3


def test_keys_are_unique_and_have_no_dot(folder):
    keys = [s.key for s in all_samples(folder)]
    assert len(set(keys)) == 12
    assert not any("." in key for key in keys)


def test_jpegs_that_need_no_scaling_pass_unchanged(folder):
    original = {p.read_bytes() for p in (folder / "train").rglob("*.JPEG")}
    assert {s.jpeg for s in all_samples(folder)} == original
    assert {s.jpeg for s in all_samples(folder, short_side_px=80)} == original


def test_large_images_are_scaled_to_the_short_side(folder):
    for sample in all_samples(folder, short_side_px=40):
        assert images.decode(sample.jpeg).shape == (40, 45, 3)


def test_other_formats_are_written_as_jpeg(folder):
    import cv2

    (folder / "val" / "dog" / "x.png").write_bytes(cv2.imencode(".png", picture(1))[1].tobytes())
    assert all(s.jpeg.startswith(image_folder.JPEG_START) for s in all_samples(folder, "val"))


def test_a_broken_image_is_named(folder):
    (folder / "train" / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    with pytest.raises(DataError, match=r"train/cat/broken\.jpg"):
        all_samples(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "val" / "cat").rename(root / "val" / "cow"), "in one of train/"),
        (lambda root: (root / "val").rename(root / "test"), "no image under val/CLASS/"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused_with_the_rule(folder, spoil, message):
    spoil(folder)
    with pytest.raises(DataError, match=message):
        image_folder.open_source(str(folder))


def test_a_source_that_is_not_there_is_named():
    with pytest.raises(DataError, match="/nowhere: no such folder or tar"):
        image_folder.open_source("/nowhere")


def test_a_file_that_is_not_a_tar_is_refused(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"not a tar" * 200)
    with pytest.raises(DataError, match=r"x\.tar: not an uncompressed tar"):
        image_folder.open_source(str(tmp_path / "x.tar"))


def test_a_tar_cut_inside_an_image_is_noticed(tar):
    source = image_folder.TarSource(tar)
    name = max(source.names, key=lambda name: source._members[name])
    offset, _ = source._members[name]
    os.truncate(tar, offset + 10)
    with pytest.raises(DataError, match="the tar is cut"):
        source.read(name)


def test_member_names_never_lead_out_of_the_tar(tmp_path):
    path = tmp_path / "evil.tar"
    jpeg = images.encode_jpeg(picture(0))
    with tarfile.open(path, "w") as archive:
        for name in ("train/a/../../../etc/x.jpg", "train/a/x.jpg", "val/a/x.jpg"):
            import io

            info = tarfile.TarInfo(name)
            info.size = len(jpeg)
            archive.addfile(info, io.BytesIO(jpeg))
    found = all_samples(path)
    assert [s.jpeg for s in found] == [jpeg]
