"""Shards as a source of new ones give the images that indexing them where they lie gives."""

import pytest

from alexnet.errors import DataError
from alexnet.preparation import existing_shards
from alexnet.preparation.account import count
from alexnet.preparation.existing_shards import Part
from alexnet.preparation.sources import open_source, shards
from alexnet.preparation.sources.class_map import ClassMap
from alexnet.preparation.sources.listing import Entry, contents
from tests.foreign_tars import CLASSES, foreign_tar, num_members
from tests.tars import Memory, tar_of, write


def outcome(read, *args):
    """What `read` gives, or its message."""
    try:
        return read(*args)
    except DataError as error:
        return str(error)


def indexed(store):
    part = Part("x.tar", "train", 0, 0.0)
    return existing_shards.make(part, store, classes=ClassMap(CLASSES)).findings


def listed(store):
    found = contents([(Entry("x.tar", "", 0, "x.tar"), "")])
    return shards.listing(store, found, map, ClassMap(CLASSES))


@pytest.mark.slow
def test_of_foreign_tars_the_same_is_used_rejected_and_named():
    read = 0
    for seed in range(200):
        store = Memory(foreign_tar(seed))
        there, here = outcome(indexed, store), outcome(listed, store)
        refused = isinstance(here, str), isinstance(there, str)
        assert refused in {(True, True), (False, False)}, (seed, here, there)
        if any(refused):
            continue
        images = len(here) + len(here.rejects)  # whose bytes are not looked at yet
        assert images == there.num_usable + there.num_rejected, seed
        assert (here.account.passed_over, here.account.not_images) == (
            there.account.passed_over,
            there.account.not_images,
        )
        others = count(here.account.passed_over) + count(here.account.not_images)
        assert images + others == max(num_members(store.data), 1), seed
        read += 1
    assert read > 100


def test_images_of_one_name_are_listed_alike_in_whatever_order_shards_are_read(tmp_path):
    files = {
        f"{number}.tar": tar_of(
            [("t0.jpg", b"%d" % number), ("t0.cls", b"0"), ("t1.jpg", b"x"), ("t1.cls", b"1")]
        )
        for number in range(3)
    }
    store = write(tmp_path, files)

    def backwards(function, items):
        return map(function, list(items)[::-1])

    one, other = (open_source(store, "", spread) for spread in (map, backwards))
    assert one.digest() == other.digest()
