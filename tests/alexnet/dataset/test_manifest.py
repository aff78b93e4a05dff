"""A manifest is read whole or refused with a reason, and every digest in it is held to."""

import dataclasses
import io
import json

import numpy as np
import pytest

from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest, shard_index, shard_writer
from alexnet.dataset.manifest import Shard
from alexnet.errors import DataError, StoreError
from tests.tiny_data import NUM_TRAIN, NUM_VAL, colour_samples

CLASSES = ["red", "green", "blue"]


def tree_of(store):
    return json.loads(store.read(manifest.MANIFEST_NAME))


def write(folder):
    splits = {"train": colour_samples("train", NUM_TRAIN), "val": colour_samples("val", NUM_VAL)}
    return shard_writer.write_dataset(open_store(str(folder)), "tiny", CLASSES, splits, 20)


def test_the_same_samples_give_the_same_files(tmp_path, tiny):
    store, first = tiny
    again = write(tmp_path)
    assert again.digest == first.digest
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        name: store.read(name) for name in store.list()
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "format 'other'; this code reads 'alexnet-shards'"),
        ({"version": 99}, "version 99; this code reads 1"),
        ({"classes": None}, "damaged: classes = None: must be a list"),
        ({"classes": "abc"}, "damaged: classes = 'abc': must be a list"),
        ({"more": 1}, "damaged: more: unknown key"),
        ({"splits": {"train": {}}}, r"damaged: splits\.train\.num_samples: missing"),
        ({"colour": {}}, r"damaged: colour\.mean: missing"),
    ],
)
def test_what_is_not_a_manifest_is_refused_with_the_reason(tiny, change, message):
    data = json.dumps(tree_of(tiny[0]) | change).encode()
    with pytest.raises(DataError, match=message):
        manifest.parse(data, tiny[0], "there")


@pytest.mark.parametrize("change", [{"num_samples": 104}, {"num_shards": 5}, {"num_shards": 0}])
def test_a_table_that_does_not_fit_is_refused(tiny, change):
    tree = tree_of(tiny[0])
    tree["splits"]["train"] |= change
    with pytest.raises(DataError, match="damaged: .*does not hold|damaged: .*bytes"):
        manifest.parse(json.dumps(tree).encode(), tiny[0], "there")


def test_a_changed_table_is_noticed(tmp_path):
    write(tmp_path)
    (table,) = tmp_path.glob("train-*.shards.npy")
    data = bytearray(table.read_bytes())
    data[-1] ^= 1
    table.write_bytes(data)
    with pytest.raises(DataError, match=r"\.shards\.npy: SHA-256 is not the manifest's"):
        manifest.read(open_store(str(tmp_path)))


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"tar bytes", b"{"])
def test_what_is_not_json_is_refused(tiny, data):
    with pytest.raises(DataError, match="there: damaged: .*(line 1|codec)"):
        manifest.parse(data, tiny[0], "there")


def test_shards_with_names_of_their_own_are_listed_by_name(tiny, tmp_path):
    store = open_store(str(tmp_path))
    names = ["b/imagenet-7.tar", "a.tar", "caf\u00e9.tar"]
    some = [
        Shard(name=name, num_samples=i + 1, index_sha256=bytes([i] * 32))
        for i, name in enumerate(names)
    ]
    manifest.publish(store, manifest.draft("foreign", CLASSES, tiny[1].colour, {"train": some}))
    assert list(manifest.read(store).split("train")) == some


def test_a_new_manifest_leaves_the_old_one_valid(tmp_path):
    first = write(tmp_path)
    store = open_store(str(tmp_path))
    more = [*first.split("train"), *first.split("val")]
    splits = {"train": more, "val": list(first.split("val"))}
    second = manifest.publish(store, manifest.draft("tiny", CLASSES, first.colour, splits))
    assert manifest.read(store).digest == second.digest != first.digest
    old = manifest.read(store, f"manifest-{first.digest[:12]}.json")
    assert old.digest == first.digest
    assert old.num_samples("train") == NUM_TRAIN
    assert second.num_samples("train") == NUM_TRAIN + NUM_VAL


@pytest.mark.parametrize(
    ("url", "folder", "file"),
    [
        ("s3://bucket/set", "s3://bucket/set", "manifest.json"),
        ("s3://bucket/set/manifest-0a.json", "s3://bucket/set", "manifest-0a.json"),
        ("manifest-0a.json", ".", "manifest-0a.json"),
        ("/manifest-0a.json", "/", "manifest-0a.json"),
    ],
)
def test_a_url_names_a_folder_or_a_manifest_in_it(url, folder, file):
    assert manifest.locate(url) == (folder, file)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"manifest\.json"):
        manifest.read(open_store(str(tmp_path)))


def test_a_class_count_that_does_not_match_is_refused_with_the_right_one(tiny):
    with pytest.raises(DataError, match="model.num_classes = 10: .* has 3 classes"):
        manifest.check_classes(tiny[1], 10)


def test_an_index_and_a_table_are_files_of_numpy(tiny):
    store, tiny_manifest = tiny
    table = np.load(io.BytesIO(store.read(tree_of(store)["splits"]["train"]["table"])))[()]
    assert table["num_samples"].tolist() == [20, 20, 20, 20, 20, 3]
    for shard in tiny_manifest.split("train"):
        record = np.load(io.BytesIO(store.read(shard.index)), allow_pickle=False)[()]
        assert np.array_equal(record["samples"], manifest.read_index(store, shard).samples)


def test_an_index_of_another_length_is_refused(tiny):
    store, tiny_manifest = tiny
    longer = dataclasses.replace(tiny_manifest.split("train")[0], num_samples=21)
    with pytest.raises(DataError, match="does not hold the 21 samples"):
        manifest.read_index(store, longer)


def test_an_index_that_lies_altered_is_noticed(tmp_path):
    made = write(tmp_path)
    path = tmp_path / made.split("train")[0].index
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="SHA-256 is not the manifest's"):
        manifest.read_index(open_store(str(tmp_path)), made.split("train")[0])


def test_an_index_comes_back_as_it_was_written():
    rows = np.zeros(3, shard_index.SAMPLE)
    rows["offset"] = [512, 2048, 2**40]
    written = shard_index.Index(2**41, bytes(range(32)), rows)
    read = shard_index.parse(shard_index.to_bytes(written), 3)
    assert (read.tar_bytes, read.tar_sha256) == (written.tar_bytes, written.tar_sha256)
    assert np.array_equal(read.samples, rows)
