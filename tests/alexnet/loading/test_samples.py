"""A bad sample is replaced the same way everywhere and told; too many stop the run."""

import dataclasses

import pytest
import torch

from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest
from alexnet.errors import DataError
from alexnet.loading.batch import join
from alexnet.loading.data_loader import ValidationStream
from alexnet.loading.samples import BadBudget, ValidationParts
from alexnet.telemetry.epoch_ledger import Skipped
from tests.tiny_data import batches, same, tiny_run, train_parts

CPU = torch.device("cpu")
BAD = [5, 40, 41, 99]


def parts_of(url, *, rank=0, world_size=1, loaders=0, start_step=0, **data):
    store, config = open_store(url), tiny_run(url, epochs=2)
    limits = {"max_bad_share": 0.2, "loader_processes": loaders} | data
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, **limits))
    where = {"rank": rank, "world_size": world_size, "start_step": start_step}
    return train_parts(store, manifest.read(store), config, **where)


def test_batches_keep_their_size_and_each_bad_sample_is_told_once_an_epoch(spoilt, tiny_url):
    url, _ = spoilt(BAD)
    spoilt_batches, clean = batches(parts_of(url)), batches(parts_of(tiny_url))
    assert [len(batch.ids) for batch in spoilt_batches] == [len(batch.ids) for batch in clean]
    for epoch in range(2):
        steps = range(epoch * 8, epoch * 8 + 8)
        due = {i for step in steps for i in clean[step].ids.tolist()} & set(BAD)
        told = [item for step in steps for item in spoilt_batches[step].skipped]
        assert sorted(item.sample_id for item in told) == sorted(due)
        assert all(item.epoch == epoch for item in told)
        assert not {i for step in steps for i in spoilt_batches[step].ids.tolist()} & set(BAD)


def test_other_places_keep_their_pixels(spoilt, tiny_url):
    url, _ = spoilt(BAD)
    for one, two in zip(batches(parts_of(url)), batches(parts_of(tiny_url)), strict=True):
        kept = torch.tensor([i not in BAD for i in two.ids.tolist()])
        assert torch.equal(one.images[kept], two.images[kept])
        assert torch.equal(one.ids[kept], two.ids[kept])


@pytest.mark.parametrize("world_size", [2, 3])
def test_replacements_do_not_depend_on_the_number_of_workers(spoilt, world_size):
    url, _ = spoilt(BAD)
    ranks = [batches(parts_of(url, rank=r, world_size=world_size)) for r in range(world_size)]
    for step, whole in enumerate(batches(parts_of(url))):
        assert same(join([rank[step] for rank in ranks], CPU), whole)


@pytest.mark.slow
def test_replacements_do_not_depend_on_loader_processes_or_a_resume(spoilt):
    url, _ = spoilt(BAD)
    whole = batches(parts_of(url))
    made = batches(parts_of(url, loaders=2, start_step=5))
    assert all(same(one, two) for one, two in zip(made, whole[5:], strict=True))


def test_a_name_and_a_reason_are_told(spoilt):
    url, _ = spoilt([41])
    told = [item for batch in batches(parts_of(url)) for item in batch.skipped]
    assert told
    assert {item.name for item in told} == {"train-000002.tar: train00041.jpg"}
    assert all("CRC-32C" in item.reason for item in told)


def test_a_share_above_the_budget_stops_the_run_with_the_shard(spoilt):
    url, _ = spoilt(range(0, 103, 4))
    with pytest.raises(DataError, match=r"train-00000\d\.tar: .*max_bad_share = 0\.05"):
        batches(parts_of(url, max_bad_share=0.05))


def test_a_broken_shard_stops_the_run_by_its_samples_in_a_row(spoilt):
    url, _ = spoilt(range(20, 60))
    with pytest.raises(DataError, match=r"train-00000[12]\.tar: .*3 in a row"):
        batches(parts_of(url, max_bad_share=1.0, max_bad_in_a_row=2))


def test_a_data_set_without_a_good_sample_stops_the_run(spoilt):
    url, _ = spoilt(range(103))
    with pytest.raises(DataError, match=r"train-.* nor can 10 samples drawn in its place be used"):
        batches(parts_of(url, max_bad_share=1.0, max_bad_in_a_row=1000))


def test_a_bad_validation_image_stops_the_run_by_name(spoilt, tmp_path):
    url, folder = spoilt()
    store = open_store(url)
    made = manifest.read(store)
    shard = made.split("val")[0]
    row = manifest.read_index(store, shard).samples[3]
    with (folder / shard.name).open("r+b") as tar:
        tar.seek(int(row["offset"]) + 100)
        tar.write(b"altered")
    data = tiny_run(url).data
    parts = ValidationParts(
        store=store, manifest=made, data=data, batch_size=8, rank=0, world_size=1
    )
    with pytest.raises(DataError, match=r"val-000000\.tar: val00003\.jpg: CRC-32C"):
        list(ValidationStream(parts))


def test_the_budget_begins_anew_with_each_epoch():
    data = tiny_run("x").data
    budget = BadBudget(dataclasses.replace(data, max_bad_share=0.02, max_bad_in_a_row=9), 100)
    for epoch in range(3):
        for number in range(100):
            bad = Skipped(epoch, number, "shard", "reason") if number in (10, 50) else None
            budget.count(epoch, bad)
    with pytest.raises(DataError, match="1 of 0"):
        BadBudget(data, 0).count(0, Skipped(0, 1, "shard", "reason"))
