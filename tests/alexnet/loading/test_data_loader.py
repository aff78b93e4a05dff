"""Batches must be those of the plan, whoever makes them, and no altered byte may pass."""

from itertools import islice

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet.loading.batch import join
from alexnet.loading.data_loader import ValidationStream
from alexnet.loading.epoch_plan import share
from alexnet.loading.samples import ValidationParts
from alexnet.telemetry import s3_usage
from tests.counting_store import LikeS3
from tests.tiny_data import NUM_VAL, batches, same, tiny_run, train_parts

CPU = torch.device("cpu")


def parts_of(
    tiny, *, rank=0, world_size=1, loaders=0, start_step=0, epochs=2, streams=4, window=10, batch=12
):
    store, manifest = tiny
    data = {"num_streams": streams, "window_samples": window, "loader_processes": loaders}
    config = tiny_run(store.url, data, epochs=epochs, global_batch_size=batch)
    where = {"rank": rank, "world_size": world_size, "start_step": start_step}
    return train_parts(store, manifest, config, **where)


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_put_together_have_the_batch_of_one_process_pixel_by_pixel(tiny, world_size):
    whole = batches(parts_of(tiny))
    ranks = [batches(parts_of(tiny, rank=r, world_size=world_size)) for r in range(world_size)]
    for step, expected in enumerate(whole):
        assert same(join([rank[step] for rank in ranks], CPU), expected)


@pytest.mark.slow
@pytest.mark.parametrize("loaders", [1, 2, 3])
def test_loader_processes_give_the_batches_of_none_pixel_by_pixel(tiny, loaders):
    counted = LikeS3(tiny[0]), tiny[1]
    s3_usage.OF_PROCESS.take()
    whole = batches(parts_of(counted, epochs=1))
    asked = s3_usage.OF_PROCESS.take()
    made = batches(parts_of(counted, epochs=1, loaders=loaders))
    assert len(made) == len(whole)
    assert all(same(one, two) for one, two in zip(made, whole, strict=True))
    by_loaders = s3_usage.OF_PROCESS.take()  # each reads the indexes for itself
    assert sum(by_loaders) >= sum(asked) > 0
    assert loaders > 1 or by_loaders == asked


@st.composite
def layouts(draw):
    """Streams, and samples of each in a step; at most one batch an epoch is left over."""
    streams = draw(st.sampled_from([1, 2, 5, 12, 51, 64]))
    return {
        "streams": streams,
        "batch": streams * draw(st.integers(1, max(1, 24 // streams))),
        "window": draw(st.integers(1, 60)),
    }


@pytest.mark.slow
@given(layouts(), st.data())
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_workers_loaders_and_start_give_the_pixels_of_one_process(tiny, layout, data):
    whole = list(parts_of(tiny, **layout).parts())
    start = data.draw(st.integers(0, len(whole) - 1))
    world_size = data.draw(st.integers(1, min(64, layout["streams"])))
    loaders = data.draw(st.integers(0, 8))
    parts = []
    for rank in range(world_size):
        mine = parts_of(tiny, rank=rank, world_size=world_size, start_step=start, **layout)
        count = min(loaders, len(share(layout["streams"], rank, world_size))) or 1
        parts += [islice(mine.parts(loader, count), 3) for loader in range(count)]
    steps = [join(list(step), CPU) for step in zip(*parts, strict=True)]
    assert len(steps) == min(3, len(whole) - start)
    assert all(same(one, two) for one, two in zip(steps, whole[start:], strict=False))


@pytest.mark.parametrize("start_step", [1, 7, 8, 9, 15])
def test_a_start_in_the_middle_gives_what_was_left(tiny, start_step):
    whole = batches(parts_of(tiny))
    rest = batches(parts_of(tiny, start_step=start_step))
    assert len(rest) == len(whole) - start_step
    assert all(same(one, two) for one, two in zip(rest, whole[start_step:], strict=True))


def test_epochs_follow_each_other_and_each_has_every_sample_at_most_once(tiny):
    whole = batches(parts_of(tiny))
    steps = len(whole) // 2
    for epoch in (whole[:steps], whole[steps:]):
        ids = torch.cat([batch.ids for batch in epoch])
        assert len(ids.unique()) == len(ids) == steps * 12


@pytest.mark.parametrize("world_size", [1, 2, 3, 50])
def test_validation_sees_every_image_once_on_any_number_of_workers(tiny, world_size):
    store, manifest = tiny
    data = tiny_run(store.url).data
    ids = []
    for rank in range(world_size):
        parts = ValidationParts(
            store=store,
            manifest=manifest,
            data=data,
            batch_size=4,
            rank=rank,
            world_size=world_size,
        )
        ids += [i for group in ValidationStream(parts) for i in join(group, CPU).ids.tolist()]
    assert ids == list(range(NUM_VAL))
