"""What an interrupted or refused preparation has left is used only where it still holds."""

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest
from alexnet.errors import DataError
from alexnet.preparation import job, new_shards, sources
from alexnet.preparation.new_shards import Settings
from tests.preparing import prepare
from tests.tiny_data import pictures


def job_of(source, target):
    settings = Settings(samples_per_shard=4)
    return new_shards.job(
        target, open_store(source), sources.open_source(open_store(source)), settings
    )


@pytest.fixture
def source(tmp_path):
    data = pictures(24)
    for split, count in (("train", 8), ("val", 4)):
        for label in ("cat", "dog"):
            folder = tmp_path / "source" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number}.jpg").write_bytes(next(data))
    return tmp_path / "source"


@pytest.fixture
def half_made(source, tmp_path):
    """The store of a preparation that ended after three of six parts."""
    target = open_store(str(tmp_path / "half" / "set"))
    made = job_of(str(source), target)
    job.begin(target, made)
    for part, _ in zip(job.make_parts(target, made, map), range(3), strict=False):
        assert part == 4
    return target


def digest_of(source, tmp_path):
    """Of a preparation that nothing disturbs."""
    return prepare(source, tmp_path / "whole" / "set", samples_per_shard=4).manifest.digest


def finished(source, target):
    made = job_of(str(source), target)
    job.begin(target, made)
    list(job.make_parts(target, made, map))
    return job.finish(target, made, 0.01).manifest.digest


def swap(source):
    """The images of two classes, so that every label is another one."""
    for split in ("train", "val"):
        (source / split / "cat").rename(source / split / "other")
        (source / split / "dog").rename(source / split / "cat")
        (source / split / "other").rename(source / split / "dog")


def test_images_that_were_changed_meanwhile_are_read_again(source, half_made, tmp_path):
    swap(source)
    assert finished(source, half_made) == digest_of(source, tmp_path)


@pytest.mark.parametrize("end", [".tar", ".index.npy"])
def test_a_shard_that_was_lost_meanwhile_is_made_again(source, half_made, tmp_path, end):
    half_made.delete(f"train-000000{end}")
    expected = digest_of(source, tmp_path)
    assert finished(source, half_made) == expected
    assert f"train-000000{end}" in half_made.list()
    assert manifest.read(half_made).digest == expected


def test_an_image_that_was_mended_is_used(source, tmp_path):
    whole = (source / "train" / "cat" / "0.jpg").read_bytes()
    (source / "train" / "cat" / "0.jpg").write_bytes(whole[:100])
    with pytest.raises(DataError, match="mend them"):
        prepare(source, tmp_path / "mended" / "set", samples_per_shard=4)
    (source / "train" / "cat" / "0.jpg").write_bytes(whole)
    made = prepare(source, tmp_path / "mended" / "set", samples_per_shard=4)
    assert made.manifest.digest == digest_of(source, tmp_path)
