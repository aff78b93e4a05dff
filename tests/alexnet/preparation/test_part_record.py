"""A part's record is read as it was written, or its damage is named."""

import json
from collections.abc import Mapping

import numpy as np
import pytest

from alexnet import images
from alexnet.adapters.object_store import open_store
from alexnet.dataset.manifest import Shard
from alexnet.errors import DataError
from alexnet.preparation import part_record
from alexnet.preparation.duplicates import SEEN, seen
from alexnet.preparation.image_inspection import examine
from alexnet.preparation.part_record import PartRecord
from alexnet.preparation.statistics import Findings

NAME = "preparing/0/train-000000.tar.json"


def record(shard):
    found = Findings()
    picture = images.encode_jpeg(np.full((40, 60, 3), 128, np.uint8))
    found.add(picture, "train", 2, examine(picture))
    found.reject("cat/1.jpg", DataError("cat/1.jpg: empty"))
    rows = np.array([seen(picture, 0, 2, "train")], SEEN)
    return PartRecord("train", shard, found, rows)


SHARD = Shard(name="train-000000.tar", num_samples=1, index_sha256=bytes(range(32)))


@pytest.mark.parametrize("shard", [SHARD, None])
def test_what_was_written_is_read(shard, tmp_path):
    store, made = open_store(str(tmp_path)), record(shard)
    part_record.write(store, NAME, made)
    read = part_record.read(store, NAME)
    assert read[:3] == made[:3]
    np.testing.assert_array_equal(read.seen, made.seen)
    assert read.num_images == 2


def places(tree, path=()):
    """Where something lies in parsed JSON, from the outside in."""
    pairs = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    for key, value in pairs:
        yield (*path, key)
        if isinstance(value, Mapping | list):
            yield from places(value, (*path, key))


def test_whatever_is_of_another_type_is_named_with_what_to_do(tmp_path):
    store = open_store(str(tmp_path))
    part_record.write(store, NAME, record(SHARD))
    text = store.read(NAME)
    damages = list(places(json.loads(text)))
    assert len(damages) > 30
    for *path, last in damages:
        tree = inner = json.loads(text)
        for key in path:
            inner = inner[key]
        inner[last] = {"?": [[]]}
        store.write(NAME, json.dumps(tree).encode())
        with pytest.raises(DataError, match=r"tar\.json: damaged: .* Delete it, and repeat"):
            part_record.read(store, NAME)


@pytest.mark.parametrize("key", ["seen", "shard", "half"])
def test_text_that_is_not_what_it_encodes_is_damage(key, tmp_path):
    store = open_store(str(tmp_path))
    part_record.write(store, NAME, record(SHARD))
    tree = json.loads(store.read(NAME))
    tree["seen"] = tree["seen"][:-8] if key == "seen" else tree["seen"]
    tree["shard"]["index_sha256"] = "xyz" if key == "shard" else tree["shard"]["index_sha256"]
    text = json.dumps(tree)
    store.write(NAME, text[: len(text) // 2 if key == "half" else None].encode())
    with pytest.raises(DataError, match=r"tar\.json: damaged: .* Delete it, and repeat"):
        part_record.read(store, NAME)
