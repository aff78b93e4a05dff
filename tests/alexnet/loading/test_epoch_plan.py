"""Which sample comes when must depend on the data set, the seed and the epoch alone."""

from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.dataset.shard_reader import ranges_in_order
from alexnet.errors import DataError
from alexnet.loading.epoch_plan import EpochPlan, share
from tests.streams import stream_ids

shard_sizes = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@st.composite
def plans(draw, max_streams=8):
    sizes = draw(shard_sizes)
    streams = draw(st.integers(1, max_streams))
    batch = streams * draw(st.integers(1, 4))
    if sum(sizes) < batch:
        sizes = [*sizes, batch]
    return EpochPlan(
        sizes,
        seed=draw(st.integers(0, 5)),
        epoch=draw(st.integers(0, 5)),
        num_streams=streams,
        window_samples=draw(st.integers(1, 30)),
        global_batch_size=batch,
    )


def delivered(plan):
    """Every sample of the epoch's full steps, in stream order."""
    taken = plan.steps * plan.per_step
    return [
        pair
        for stream in range(plan.num_streams)
        for pair in islice(stream_ids(plan, stream), taken)
    ]


def ids_of_step(plan, step, world_size, loaders):
    """What all loader processes of all ranks read for a step, in the order of joining.

    Without loader processes the training process reads its streams itself.
    """
    batch = []
    for rank in range(world_size):
        mine = share(plan.num_streams, rank, world_size)
        for loader in range(max(1, loaders)):
            for stream in [mine[i] for i in share(len(mine), loader, max(1, loaders))]:
                batch += islice(stream_ids(plan, stream, step * plan.per_step), plan.per_step)
    return batch


@given(plans())
def test_an_epoch_delivers_every_sample_once_but_for_the_counted_remainder(plan):
    counts = Counter(delivered(plan))
    assert set(counts.values()) == {1}
    assert len(counts) == plan.steps * plan.global_batch_size
    assert plan.left_over == plan.num_samples - len(counts)
    assert plan.left_over < plan.global_batch_size


@given(plans(max_streams=80), st.integers(1, 64), st.integers(0, 8), st.data())
def test_a_global_batch_is_the_same_for_any_number_of_workers_and_loaders(
    plan, world_size, loaders, data
):
    step = data.draw(st.integers(0, plan.steps - 1))
    assert ids_of_step(plan, step, world_size, loaders) == ids_of_step(plan, step, 1, 0)


@pytest.mark.slow
@given(plans(max_streams=80), st.data())
def test_an_epoch_resumed_again_and_again_on_other_workers_is_the_undisturbed_one(plan, data):
    resumed = []
    while len(resumed) < plan.steps:
        world_size, loaders = data.draw(st.integers(1, 64)), data.draw(st.integers(0, 8))
        last = data.draw(st.integers(len(resumed) + 1, plan.steps))
        resumed += [
            ids_of_step(plan, step, world_size, loaders) for step in range(len(resumed), last)
        ]
    assert resumed == [ids_of_step(plan, step, 1, 0) for step in range(plan.steps)]


@given(plans(), st.data())
def test_a_stream_entered_in_the_middle_goes_on_as_the_whole_one(plan, data):
    stream = data.draw(st.integers(0, plan.num_streams - 1))
    position = data.draw(st.integers(0, plan.stream_samples))
    whole = list(stream_ids(plan, stream))
    assert list(stream_ids(plan, stream, position)) == whole[position:]


def test_the_remainder_differs_from_epoch_to_epoch():
    missing = []
    for epoch in range(10):
        plan = EpochPlan(
            [50, 53], seed=0, epoch=epoch, num_streams=4, window_samples=8, global_batch_size=20
        )
        everything = {(shard, i) for shard, size in enumerate([50, 53]) for i in range(size)}
        missing.append(everything - set(delivered(plan)))
    assert all(one != two for one, two in pairwise(missing))


@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}])
def test_another_seed_or_epoch_is_another_order(other):
    settings = {"seed": 0, "epoch": 0, "num_streams": 4, "window_samples": 16}
    one = EpochPlan([64] * 4, **settings, global_batch_size=32)
    two = EpochPlan([64] * 4, **(settings | other), global_batch_size=32)
    assert delivered(one) != delivered(two)


def test_a_billion_samples_are_planned_without_listing_them():
    sizes = np.full(10**6, 1000)
    plan = EpochPlan(
        sizes, seed=0, epoch=0, num_streams=512, window_samples=2048, global_batch_size=4096
    )
    assert plan.num_samples == 10**9
    window = next(plan.windows(511, plan.stream_samples - 1))
    assert sum(run.num_samples for run in window.runs) == len(window.order)


def test_a_batch_larger_than_the_split_is_refused():
    with pytest.raises(DataError, match="global_batch_size = 8: .* only 7 images"):
        EpochPlan([7], seed=0, epoch=0, num_streams=1, window_samples=4, global_batch_size=8)


@given(st.integers(0, 200), st.integers(1, 20))
def test_shares_cover_everything_once_in_order_and_differ_by_at_most_one(items, parts):
    shares = [share(items, part, parts) for part in range(parts)]
    assert [i for one in shares for i in one] == list(range(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(shard_sizes, st.data())
def test_ranges_in_order_name_each_sample_of_a_range_once(sizes, data):
    start = data.draw(st.integers(0, sum(sizes)))
    stop = data.draw(st.integers(start, sum(sizes)))
    line = [(shard, i) for shard, size in enumerate(sizes) for i in range(size)]
    runs = ranges_in_order(np.cumsum(sizes), range(start, stop))
    read = [(run.shard, run.first + i) for run in runs for i in range(run.num_samples)]
    assert read == line[start:stop]
