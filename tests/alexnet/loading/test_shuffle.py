"""Batches mix classes as those of a uniform shuffle do, also where the source is sorted by class.

The statistic is Pearson's: over the classes of a batch, the squared distance from the expected
count, divided by it; averaged over the batches of an epoch. What a uniform shuffle gives is found
by shuffling. All draws are fixed, so these tests do not flicker.
"""

from itertools import islice

import numpy as np
import pytest

from alexnet.loading.epoch_plan import EpochPlan
from alexnet.preparation.account import Account
from alexnet.preparation.new_shards import Settings, orders
from alexnet.preparation.sources.listing import Contents, Entry, listed
from tests.streams import stream_ids

CLASSES, SAMPLES, BATCH, STREAMS = 10, 20_000, 100, 100
SORTED = np.repeat(np.arange(CLASSES), SAMPLES // CLASSES)


def spread(batches):
    counts = np.stack([np.bincount(batch, minlength=CLASSES) for batch in batches])
    expected = BATCH / CLASSES
    return float(((counts - expected) ** 2 / expected).sum(axis=1).mean())


@pytest.fixture(scope="module")
def uniform():
    """Mean and standard deviation of the statistic over uniform shuffles."""
    rng = np.random.default_rng(0)
    found = [spread(rng.permutation(SORTED).reshape(-1, BATCH)) for _ in range(300)]
    return np.mean(found), np.std(found)


def epoch(labels, per_shard, epoch=0, streams=STREAMS):
    """Labels of each batch of an epoch over shards that hold `labels` in this order."""
    plan = EpochPlan(
        [per_shard] * (len(labels) // per_shard),
        seed=0,
        epoch=epoch,
        num_streams=streams,
        window_samples=500,
        global_batch_size=BATCH,
    )
    streams = [stream_ids(plan, stream) for stream in range(streams)]
    for _ in range(plan.steps):
        pairs = np.array([pair for each in streams for pair in islice(each, plan.per_step)])
        yield labels[pairs[:, 0] * per_shard + pairs[:, 1]]


def prepared():
    """Labels in the order in which preparation writes a source that is sorted by class."""
    entries = [
        Entry(f"{'val' if i < 2 else 'train'}/{label}/{i:06d}.jpg", "val" if i < 2 else "train",
              int(label), "a.tar", i, 1)
        for i, label in enumerate([0, 0, *SORTED])
    ]  # fmt: skip
    found = Contents([], set(), [], Account(found=len(entries)))
    listing = listed("x", [str(label) for label in range(CLASSES)], entries, found)
    order = orders(listing, Settings())["train"]
    return listing.rows["label"][order].astype(np.int64)


@pytest.mark.parametrize("number", range(3))
def test_a_prepared_data_set_is_mixed_like_a_uniform_shuffle(uniform, number):
    mean, deviation = uniform
    found = spread(epoch(prepared(), per_shard=200, epoch=number))
    assert abs(found - mean) < 4 * deviation


@pytest.mark.parametrize("number", range(3))
def test_shards_of_one_class_each_are_mixed_no_worse_with_a_stream_for_each_image(uniform, number):
    mean, deviation = uniform
    found = spread(epoch(SORTED, per_shard=200, epoch=number))
    assert found < mean + 4 * deviation


def test_the_statistic_tells_worse_mixing(uniform):
    """The same shards in few streams: many neighbours of a batch are of one class."""
    mean, deviation = uniform
    assert spread(epoch(SORTED, per_shard=200, streams=10)) > mean + 50 * deviation
    assert spread(SORTED.reshape(-1, BATCH)) > mean + 1000 * deviation
