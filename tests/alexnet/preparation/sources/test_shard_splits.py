"""Which shards are for training follows from their names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.errors import DataError
from alexnet.preparation.sources import shard_splits


@pytest.mark.parametrize(
    ("names", "train", "val"),
    [
        (["a-train-0.tar", "a-val-0.tar"], ["a-train-0.tar"], ["a-val-0.tar"]),
        (["train/0.tar", "validation/0.tar"], ["train/0.tar"], ["validation/0.tar"]),
        (["train_1.tar", "valid_1.tar", "test_1.tar"], ["train_1.tar"], ["valid_1.tar"]),
    ],
)
def test_names_tell_the_split(names, train, val):
    assert shard_splits.shards("x", names, 0.05) == {"train": train, "val": val}


@given(st.sets(st.integers(0, 999), min_size=2, max_size=40), st.floats(0, 0.9))
def test_without_a_validation_split_shards_are_dealt_by_their_names(numbers, val_share):
    names = [f"{number:03d}.tar" for number in numbers]
    one = shard_splits.shards("x", names, val_share)
    assert sorted(one["train"] + one["val"]) == sorted(names)
    more = shard_splits.shards("x", [*names, "new.tar"], val_share)
    moved = set(one["val"]) - set(more["val"])
    assert len(moved) <= 1  # only the one that was there because there must be one


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train-0.tar", "val-0.tar", "more-0.tar"], "more-0.tar: the name says neither"),
        (["val-0.tar"], "no shard for the 'train' split"),
        (["0.tar"], "no shard for the 'train' split|no shard for the 'val' split"),
    ],
)
def test_names_that_do_not_tell_are_refused(names, message):
    with pytest.raises(DataError, match=message):
        shard_splits.shards("x", names, 0.05)
