"""A gauge stays as long as its driver exports; the scrape of a run is in test_train.py."""

import gc
import threading

import pytest

from alexnet.adapters import ray_metrics
from alexnet.adapters.ray_metrics import RayMetrics
from alexnet.telemetry import prometheus_metrics
from alexnet.telemetry.prometheus_metrics import Sample
from tests.waiting import wait_until

LABELS = {"run": "birds-1", "model": "birds"}


@pytest.fixture
def sent(monkeypatch):
    """What gets to Ray, as measure and value."""
    told = []

    class Instrument:
        def __init__(self, name, text, labels):
            self._name = name

        def set(self, value, labels):
            told.append((self._name, value))

        inc = set

    monkeypatch.setattr(ray_metrics, "Gauge", Instrument)
    monkeypatch.setattr(ray_metrics, "Counter", Instrument)
    monkeypatch.setattr(ray_metrics, "REPEAT_S", 0.01)
    monkeypatch.setattr(ray_metrics.ray, "is_initialized", lambda: True)
    return told


def keepers():
    return {thread for thread in threading.enumerate() if "_keep" in thread.name}


def test_a_gauge_is_set_again_and_a_counter_is_not(sent):
    metrics = RayMetrics()
    metrics.export(
        [
            Sample(prometheus_metrics.WORKERS, 1, LABELS),
            Sample(prometheus_metrics.IMAGES, 64, LABELS),
        ]
    )
    metrics.export([Sample(prometheus_metrics.WORKERS, 2, LABELS)])
    wait_until(lambda: len(sent) > 6)
    assert sent[:3] == [("alexnet_workers", 1), ("alexnet_images_trained_total", 64),
                        ("alexnet_workers", 2)]  # fmt: skip
    assert set(sent[3:]) == {("alexnet_workers", 2)}


def test_nothing_is_repeated_once_nobody_exports_or_the_driver_has_left(sent, monkeypatch):
    before = keepers()
    metrics, others = RayMetrics(), RayMetrics()
    metrics.export([Sample(prometheus_metrics.STEP, 1, LABELS)])
    others.export([Sample(prometheus_metrics.EPOCH, 1, LABELS)])
    wait_until(lambda: min(map(sent.count, [("alexnet_step", 1), ("alexnet_epoch", 1)])) > 2)
    assert len(keepers() - before) == 2
    del metrics
    gc.collect()
    wait_until(lambda: len(keepers() - before) == 1)
    monkeypatch.setattr(ray_metrics.ray, "is_initialized", lambda: False)
    wait_until(lambda: keepers() <= before)
    assert others


def test_a_repetition_does_not_bring_back_what_was_before(sent, monkeypatch):
    monkeypatch.setattr(ray_metrics, "REPEAT_S", 60)
    metrics, begun, go_on = RayMetrics(), threading.Event(), threading.Event()
    metrics.export([Sample(prometheus_metrics.WORKERS, 2, LABELS)])
    gauge = metrics._made[prometheus_metrics.WORKERS]
    at_once = gauge.set

    def slowly(value, labels):
        if threading.current_thread() is repeating:
            begun.set()
            go_on.wait(60)
        at_once(value, labels)

    repeating = threading.Thread(target=metrics.repeat)
    exporting = threading.Thread(
        target=metrics.export, args=([Sample(prometheus_metrics.WORKERS, 0, LABELS)],)
    )
    monkeypatch.setattr(gauge, "set", slowly)
    repeating.start()
    begun.wait(60)
    exporting.start()
    exporting.join(0.1)  # it waits for the repetition
    go_on.set()
    repeating.join()
    exporting.join()
    assert [value for _, value in sent] == [2, 2, 0]
