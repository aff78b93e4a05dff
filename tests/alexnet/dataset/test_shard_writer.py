"""Shards are what any WebDataset reader expects, and an index leads to the same bytes."""

import hashlib

import pytest
import webdataset

from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest, shard_index, shard_writer
from alexnet.dataset.shard_writer import Sample
from alexnet.errors import DataError
from tests.tiny_data import NUM_TRAIN, colour_samples


def test_plain_webdataset_reads_every_sample_as_it_was_written(tiny):
    store, tiny_manifest = tiny
    urls = [f"{store.url}/{shard.name}" for shard in tiny_manifest.split("train")]
    read = list(webdataset.WebDataset(urls, shardshuffle=False))
    written = list(colour_samples("train", NUM_TRAIN))
    assert [sample["__key__"] for sample in read] == [sample.key for sample in written]
    assert [sample["jpg"] for sample in read] == [sample.jpeg for sample in written]
    assert [int(sample["cls"]) for sample in read] == [sample.label for sample in written]


def test_the_index_leads_to_each_image(tiny):
    store, tiny_manifest = tiny
    written = iter(colour_samples("train", NUM_TRAIN))
    for shard in tiny_manifest.split("train"):
        tar = store.read(shard.name)
        entries = manifest.read_index(store, shard)
        assert hashlib.sha256(tar).digest() == entries.tar_sha256
        assert len(tar) == entries.tar_bytes
        for row in entries.samples:
            sample = next(written)
            data = tar[row["offset"] : row["offset"] + row["length"]]
            assert data == sample.jpeg
            assert row["crc32c"] == shard_index.crc32c(data)
            assert row["label"] == sample.label


def test_a_folder_with_a_data_set_is_not_written_to(tiny_url):
    with pytest.raises(DataError, match="a data set is already here"):
        shard_writer.write_dataset(open_store(tiny_url), "other", ["a", "b"], {}, 10)


def test_an_empty_split_is_refused_and_leaves_no_manifest(tmp_path):
    store = open_store(str(tmp_path))
    splits = {"train": colour_samples("train", 3), "val": iter(())}
    with pytest.raises(DataError, match="the 'val' split has no image"):
        shard_writer.write_dataset(store, "tiny", ["red", "green", "blue"], splits, 10)
    assert not store.exists(manifest.MANIFEST_NAME)


def test_members_have_no_time_and_no_owner(tiny):
    import io
    import tarfile

    store, tiny_manifest = tiny
    with tarfile.open(fileobj=io.BytesIO(store.read(tiny_manifest.split("train")[0].name))) as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname) for m in tar} == {(0, 0, 0, "")}


def test_sample_keys_are_kept(tmp_path):
    sample = next(colour_samples("x", 1))
    splits = {s: iter([Sample("key-1", 0, sample.jpeg)]) for s in ("train", "val")}
    made = shard_writer.write_dataset(open_store(str(tmp_path)), "one", ["a"], splits, 10)
    read = list(
        webdataset.WebDataset(str(tmp_path / made.split("train")[0].name), shardshuffle=False)
    )
    assert [s["__key__"] for s in read] == ["key-1"]
