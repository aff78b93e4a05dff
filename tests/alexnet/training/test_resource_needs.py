"""Estimates grow with what they should, and what does not fit is said with what to do."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.config import RunConfig
from alexnet.training import resource_needs
from alexnet.training.resource_needs import Node
from tests.tiny_data import tiny_run

PLENTY = Node("n", 64, 8, 2**40, 2**40, 2**40, 2**40)


def changed(section, **values):
    config = RunConfig()
    part = dataclasses.replace(getattr(config, section), **values)
    return dataclasses.replace(config, **{section: part})


@given(st.integers(1, 64), st.integers(0, 8), st.integers(1, 4096), st.integers(0, 1024))
def test_a_worker_needs_more_with_larger_windows_more_loaders_and_fewer_workers(
    workers, loaders, window, ahead
):
    def need(workers=workers, **data):
        settings = {"loader_processes": loaders, "window_samples": window, "read_ahead_mib": ahead}
        settings |= data
        return resource_needs.worker_bytes(changed("data", **settings), workers, 110e3, 62_378_344)

    assert need() <= need(window_samples=window + 1)
    assert need() < need(loader_processes=loaders + 1)
    assert need() < need(read_ahead_mib=ahead + 1)
    assert need(workers=64) <= need()


def test_batches_in_shared_memory_are_those_of_the_loader_processes():
    assert resource_needs.shared_bytes(changed("data", loader_processes=0), 4) == 0
    one, two = (resource_needs.shared_bytes(RunConfig(), workers) for workers in (1, 2))
    assert one == 2 * two
    assert one == 5 * 256 * 224 * 224 * 3


def test_a_checkpoint_has_the_weights_and_the_momentum():
    assert resource_needs.checkpoint_bytes(62_378_344) == pytest.approx(499e6, rel=0.001)


def findings(config, node):
    return [
        resource_needs.memory(config, node, 4, 2**30, 10**6),
        resource_needs.shared_memory(node, 4, 2**20),
        *resource_needs.disks(config, node, 10**6),
    ]


def test_what_fits_is_well():
    config = changed("data", cache_gib=1.0)
    assert {each.level for each in findings(config, PLENTY)} == {"ok"}


def test_what_does_not_fit_is_said_with_what_there_is_and_what_to_do():
    config = changed("data", cache_gib=1.0)
    for found in findings(config, Node("n", 4, 0, 0, 0, 0, 0)):
        assert found.level == "FAIL"
        assert "0 MiB free. " in found.text
        assert found.text.endswith(".")
        assert resource_needs.line(found).startswith("FAIL  ")


@pytest.mark.parametrize(
    ("data", "workers", "level"),
    [({}, 2, "ok"), ({"loader_processes": 4}, 2, "warn"), ({}, 5, "FAIL"), ({}, 4, "ok")],
)
def test_every_process_needs_a_stream(data, workers, level):
    found = resource_needs.counts(tiny_run("x", data), workers, 6, 29)
    assert found.level == level, found
    assert resource_needs.counts(tiny_run("x"), 4, 6, 3).level == "warn"  # validation images


def test_a_node_has_as_many_workers_as_it_has_room_for():
    config = changed("cluster", cpus_per_worker=6)
    assert resource_needs.workers_on(config, PLENTY, 20, use_gpu=False) == 10
    assert resource_needs.workers_on(config, PLENTY, 20, use_gpu=True) == 8
    assert resource_needs.workers_on(config, PLENTY, 3, use_gpu=True) == 3


def test_the_driver_is_counted_on_its_node_and_registers_after_the_workers_end():
    config, enough = RunConfig(), 4 * 2**30 + resource_needs.BESIDE_BYTES
    node = dataclasses.replace(PLENTY, memory_free=enough - 1)
    assert resource_needs.memory(config, node, 4, 2**30, 10**6).level == "ok"
    node = dataclasses.replace(node, has_driver=True)
    found = resource_needs.memory(config, node, 4, 2**30, 10**6)
    assert found.level == "FAIL"
    assert "for 4 workers, the driver and Ray's controller, " in found.text
    node = dataclasses.replace(node, memory_free=enough)
    assert resource_needs.memory(config, node, 4, 2**30, 10**6).level == "ok"
    assert resource_needs.memory(config, node, 0, 2**30, 10**9).level == "FAIL"  # registering


@pytest.mark.parametrize(
    ("images", "updates", "level"), [(12, 1, "warn"), (48, 4, "warn"), (60, 5, "ok")]
)
def test_few_updates_are_a_warning(images, updates, level):
    found = resource_needs.updates(tiny_run("x"), images)
    assert found.level == level
    assert found.text.startswith(f"{updates} update{'s' * (updates > 1)} per epoch")


@pytest.mark.parametrize(
    ("images", "level"), [(1, "warn"), (76, "warn"), (77, "ok"), (50_000, "ok")]
)
def test_few_validation_images_are_a_warning_with_what_they_tell(images, level):
    found = resource_needs.validation(images)
    assert found.level == level
    assert f"{images} validation images tell differences in top-1 from " in found.text


def test_classes_without_images_are_a_warning():
    found = resource_needs.classes(8, {"train": ("a",), "val": ()})
    assert (found.level, found.text) == (
        "warn",
        "train: every image is rejected in 1 of 8 classes, or there was none (a). See the data "
        "set's report; add images, or leave such a class out.",
    )
    assert resource_needs.classes(8, {"val": "abcd"}).text.startswith(
        "val: every image is rejected in 4 of 8 classes, or there was none (a, b, c, ...)"
    )
    assert resource_needs.classes(8, {"train": (), "val": ()}).level == "ok"
