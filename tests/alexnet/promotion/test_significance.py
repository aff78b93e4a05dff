"""Statistics agree with their definitions, and hold what they promise in simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from alexnet.promotion.significance import gain_interval, holm, mcnemar


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test_of_the_images_that_changed_sides(gained, lost):
    expected = 1.0
    if gained + lost:
        expected = binomtest(gained, gained + lost, 0.5, alternative="greater").pvalue
    assert float(mcnemar(np.array(gained), np.array(lost))) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.05, 0.01])
def test_mcnemar_errs_in_no_more_cases_than_the_level_however_many_images_changed_sides(level):
    for changed in range(1, 1500):
        gained = np.arange(changed + 1)
        rejected = mcnemar(gained, changed - gained) <= level
        assert binom.pmf(gained, changed, 0.5)[rejected].sum() <= level


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_rejects_what_stepping_down_rejects(p_values):
    level, rejected = 0.05, set()
    for place, k in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[k] * (len(p_values) - place) > level:
            break
        rejected.add(k)
    adjusted = holm(np.array(p_values))
    assert set(np.flatnonzero(adjusted <= level)) == rejected
    assert (adjusted >= np.array(p_values)).all()
    assert (adjusted <= 1).all()


@pytest.mark.slow
def test_the_interval_holds_the_true_gain_as_often_as_it_says():
    rng, images = np.random.default_rng(0), 1000
    held = 0
    for trial in range(400):
        gained, lost, _ = rng.multinomial(images, [0.12, 0.09, 0.79])
        low, high = gain_interval(gained, lost, images, seed=trial)
        held += low <= 0.03 <= high
    assert 0.92 < held / 400 < 0.98  # 3 standard deviations around 0.95


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (5, 0), (0, 100), (40, 60)])
def test_the_interval_is_that_of_drawing_images_with_what_both_models_made_of_them(gained, lost):
    change = np.array([1] * gained + [-1] * lost + [0] * (100 - gained - lost))
    rng = np.random.default_rng(1)
    drawn = [rng.choice(change, 100).mean() for _ in range(4000)]
    expected = np.quantile(drawn, [0.025, 0.975])
    assert np.allclose(
        gain_interval(gained, lost, 100), expected, atol=0.021
    )  # gains are hundredths


def test_nothing_is_significant_in_a_family_of_true_nulls_more_often_than_the_level():
    rng = np.random.default_rng(2)
    families = 500
    wrong = sum((holm(rng.uniform(size=50)) <= 0.05).any() for _ in range(families))
    assert wrong <= families * 0.05 + 3 * np.sqrt(families * 0.05 * 0.95)


def test_the_p_value_falls_with_every_image_gained_and_rises_with_every_one_lost():
    counts = range(30)
    for gained, lost in itertools.product(counts, counts):
        p_value = mcnemar(np.array(gained), np.array(lost))
        assert mcnemar(np.array(gained + 1), np.array(lost)) < p_value or p_value == 0
        assert mcnemar(np.array(gained), np.array(lost + 1)) >= p_value
