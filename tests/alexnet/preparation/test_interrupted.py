"""What an interrupted or refused preparation has left is used only where it still holds."""

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest
from alexnet.errors import DataError
from alexnet.preparation import existing_shards, job, new_shards, sources
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


def test_what_was_refused_is_removed_when_its_source_is_mended_otherwise(source, tmp_path):
    (source / "train" / "cat" / "0.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="mend them"):
        prepare(source, tmp_path / "mended" / "set", samples_per_shard=4)
    (source / "train" / "cat" / "0.jpg").unlink()
    made = prepare(source, tmp_path / "mended" / "set", samples_per_shard=4)
    assert made.manifest.digest == digest_of(source, tmp_path)
    assert not [name for name in open_store(str(tmp_path / "mended" / "set")).list() if "/" in name]


def test_an_interrupted_preparation_is_removed_only_where_that_is_asked_for(
    source, half_made, tmp_path
):
    (source / "train" / "cat" / "0.jpg").unlink()
    made = job_of(str(source), half_made)
    before = half_made.list()
    with pytest.raises(DataError, match="an unfinished preparation .* add --fresh"):
        job.begin(half_made, made)
    assert half_made.list() == before
    job.begin(half_made, made, fresh=True)
    assert half_made.list() == [f"{made.work}/job.json"]
    assert finished(source, half_made) == digest_of(source, tmp_path)


def test_a_refused_addition_leaves_the_data_set_and_the_next_one_as_they_would_be(source, tmp_path):
    target = open_store(str(tmp_path / "set"))
    base = prepare(source, tmp_path / "set", samples_per_shard=4).manifest
    kept = target.list()
    (source / "train" / "cat" / "0.jpg").write_bytes(b"")
    refused = new_shards.job(
        target,
        open_store(str(source)),
        sources.open_source(open_store(str(source))),
        Settings(),
        base,
    )
    job.begin(target, refused, base)
    list(job.make_parts(target, refused, map))
    with pytest.raises(DataError, match="mend them"):
        job.finish(target, refused, 0, base)
    assert manifest.read(target).digest == base.digest
    (source / "train" / "cat" / "0.jpg").unlink()
    listing = sources.open_source(open_store(str(source)))
    mended = new_shards.job(target, open_store(str(source)), listing, Settings(), base)
    job.begin(target, mended, base)
    assert set(target.list()) == {*kept, f"{mended.work}/job.json"}
    list(job.make_parts(target, mended, map))
    assert job.finish(target, mended, 0, base).manifest.num_samples("train") == 16 + 15


def test_shards_that_lie_in_place_are_never_removed(source, tmp_path):
    """Not those of an indexing, whoever begins what in their folder."""
    shards = open_store(str(tmp_path / "shards"))
    prepare(source, tmp_path / "made", samples_per_shard=4)
    for path in (tmp_path / "made").glob("*.tar"):
        shards.upload(path, path.name)
    tars = shards.list()
    indexing = existing_shards.job(shards, None, None, map)
    job.begin(shards, indexing)
    list(job.make_parts(shards, indexing, map))
    with pytest.raises(DataError, match="not empty"):
        job.begin(shards, job_of(str(source), shards), fresh=True)
    assert [name for name in shards.list() if name.endswith(".tar")] == tars
