"""A training that goes beyond a limit is ended, and the limit is named."""

import pytest

from alexnet import config_file
from alexnet.config import RetrainConfig
from alexnet.errors import ConfigError
from alexnet.retraining.limits import Limits
from alexnet.telemetry.events import Event

HOUR_MS = 3_600_000


def at(hours):
    return Event(kind="progress", step=1, steps=9, epoch=0.1, time_ms=int(hours * HOUR_MS))


def test_the_limit_that_is_reached_is_named():
    hours = Limits(RetrainConfig(max_hours=2), begun_ms=0)
    assert [hours.exceeded(at(h), 1000.0) for h in (1.9, 2.1)] == [
        "",
        "retrain.max_hours = 2 is reached",
    ]
    cost = Limits(RetrainConfig(max_cost=5), begun_ms=0)
    assert cost.exceeded(at(1000), 5.0) == ""
    assert cost.exceeded(at(1000), 5.1) == "retrain.max_cost = 5 is reached"


def test_a_limit_of_cost_needs_a_price():
    with pytest.raises(ConfigError, match=r"retrain.max_cost = 5.0: needs a price in \[price\]"):
        config_file.parse({"retrain": {"max_cost": 5.0}})
    assert config_file.parse({"retrain": {"max_cost": 5}, "price": {"per_1000_gets": 0.1}})
