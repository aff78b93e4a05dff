"""A manifest is read whole or refused with a reason."""

import dataclasses
import io
import json

import numpy as np
import pytest

from alexnet import manifest
from alexnet.errors import DataError, StoreError


def tree_of(store):
    return json.loads(store.read(manifest.MANIFEST_NAME))


def test_the_same_samples_give_the_same_manifest_and_shards(tmp_path, tiny):
    from alexnet import shards
    from alexnet.adapters.object_store import open_store
    from tests.tiny_data import NUM_TRAIN, NUM_VAL, colour_samples

    store, first = tiny
    splits = {"train": colour_samples("train", NUM_TRAIN), "val": colour_samples("val", NUM_VAL)}
    again = shards.write_dataset(
        open_store(str(tmp_path)), "tiny", ["red", "green", "blue"], splits, 20
    )
    assert again == first
    for shard in first.shards:
        assert (tmp_path / shard.url).read_bytes() == store.read(shard.url)


def test_it_is_a_wids_shard_list(tiny):
    tree = tree_of(tiny[0])
    assert tree["wids_version"] == 1
    assert all({"url", "nsamples", "filesize"} <= set(shard) for shard in tree["shardlist"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "format is 'other', not 'alexnet-shards'"),
        ({"version": 99}, "version 99; this code reads 1"),
        ({"classes": None}, "a field is missing or of another kind"),
        ({"shardlist": [{}]}, "a field is missing or of another kind"),
        ({"colour": {}}, "KeyError: 'mean'"),
    ],
)
def test_what_is_not_a_manifest_is_refused_with_the_reason(tiny, change, message):
    data = json.dumps(tree_of(tiny[0]) | change).encode()
    with pytest.raises(DataError, match=message):
        manifest.parse(data, "there")


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"tar bytes", b"{"])
def test_what_is_not_json_is_refused(data):
    with pytest.raises(DataError, match="there: not JSON"):
        manifest.parse(data, "there")


def test_a_missing_manifest_is_named(tmp_path):
    from alexnet.adapters.object_store import open_store

    with pytest.raises(StoreError, match=r"manifest\.json"):
        manifest.read(open_store(str(tmp_path)))


def test_a_class_count_that_does_not_match_is_refused_with_the_right_one(tiny):
    with pytest.raises(DataError, match="model.num_classes = 10: .* has 3 classes"):
        manifest.check_classes(tiny[1], 10)


def test_an_index_is_a_file_of_numpy(tiny):
    store, tiny_manifest = tiny
    for shard in tiny_manifest.shards:
        rows = np.load(io.BytesIO(store.read(shard.index)), allow_pickle=False)
        assert rows.dtype == manifest.SAMPLE
        assert np.array_equal(rows, manifest.read_index(store, shard))


def test_an_index_of_another_length_is_refused(tiny):
    store, tiny_manifest = tiny
    longer = dataclasses.replace(tiny_manifest.shards[0], nsamples=21)
    with pytest.raises(DataError, match="does not hold the 21 samples"):
        manifest.read_index(store, longer)


def test_a_changed_index_is_noticed(tiny):
    store, tiny_manifest = tiny

    class Changed:
        url = store.url

        def read(self, name):
            return store.read(name)[:-1] + b"x"

    with pytest.raises(DataError, match="SHA-256 is not the manifest's"):
        manifest.read_index(Changed(), tiny_manifest.shards[0])
