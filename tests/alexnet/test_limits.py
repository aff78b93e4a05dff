"""A training's cost is that of its workers while they worked, over all restarts."""

import pytest

from alexnet.config import RetrainConfig
from alexnet.errors import ConfigError
from alexnet.limits import Limits
from alexnet.progress import Event

HOUR_MS = 3_600_000


def event(hours, kind="progress", workers=0):
    time_ms = int(hours * HOUR_MS)
    return Event(kind=kind, step=1, steps=9, epoch=0.1, time_ms=time_ms, workers=workers)


def test_workers_cost_from_their_start_and_pauses_cost_nothing():
    limits = Limits(RetrainConfig(worker_hour_price=3.0), begun_ms=0)
    for each in (
        event(1, "started", 2),
        event(2),
        event(10, "started", 4),  # eight hours in which nothing ran
        event(10.5),
        event(11),
    ):
        assert limits.exceeded(each) == ""
    assert limits.worker_hours == pytest.approx(2 * 1 + 4 * 1)
    assert limits.cost == pytest.approx(18)


def test_an_event_that_comes_twice_or_late_costs_nothing():
    limits = Limits(RetrainConfig(worker_hour_price=1.0), begun_ms=0)
    for each in (event(0, "started", 1), event(2), event(1), event(2)):
        limits.exceeded(each)
    assert limits.cost == pytest.approx(2)


def test_the_limit_that_is_reached_is_named():
    hours = Limits(RetrainConfig(max_hours=2), begun_ms=0)
    assert [hours.exceeded(event(h)) for h in (1.9, 2.1)] == [
        "",
        "retrain.max_hours = 2 is reached",
    ]
    cost = Limits(RetrainConfig(max_cost=5, worker_hour_price=2.5), begun_ms=0)
    events = (event(0, "started", 2), event(0.9), event(1.1))
    assert [cost.exceeded(each) for each in events] == ["", "", "retrain.max_cost = 5 is reached"]


def test_a_limit_of_cost_needs_a_price():
    with pytest.raises(ConfigError, match="retrain.max_cost = 5.0: needs retrain.worker_hour_p"):
        RetrainConfig(max_cost=5.0)
