"""The learning rate is a table."""

import pytest

from alexnet.config import OptimConfig
from alexnet.training.learning_rate import learning_rate

STEPS_PER_EPOCH = 10


def rate(step, epochs=100, batch=128, **settings):
    return learning_rate(step, STEPS_PER_EPOCH, epochs, batch, OptimConfig(**settings))


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.01), (299, 0.01), (300, 1e-3), (600, 1e-4), (800, 1e-5)]
)
def test_steps_are_those_of_the_paper(step, expected):
    assert rate(step, decay="step", warmup_epochs=0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.0002), (24, 0.005), (49, 0.01), (524, 0.005), (999, 0.0)]
)
def test_warmup_rises_in_a_line_and_the_cosine_falls_to_nothing(step, expected):
    assert rate(step, warmup_epochs=5) == pytest.approx(expected, abs=1e-9)


def test_the_rate_is_linear_in_the_batch():
    assert rate(100, batch=1024) == pytest.approx(8 * rate(100, batch=128))


def test_the_first_update_moves():
    assert rate(0) > 0


def test_a_warmup_longer_than_the_run_does_not_fail():
    assert 0 < rate(9, epochs=1, warmup_epochs=5) < 0.01
