"""Colour statistics are those of the pixels, to the bit the same however they are added up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.dataset.colour_statistics import ColourSums

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
PICTURES[..., 1] = PICTURES[..., 0] // 2  # a covariance that is not diagonal


def sums_of(numbers):
    sums = ColourSums()
    for number in numbers:
        sums.add(PICTURES[number])
    return sums


def test_they_are_those_of_the_pixels():
    values = PICTURES.reshape(-1, 3) / 255
    colour = sums_of(range(20)).colour()
    assert colour.mean == pytest.approx(values.mean(0), abs=1e-5)
    assert colour.std == pytest.approx(values.std(0), abs=1e-5)
    axes = np.array(colour.axes)
    assert axes @ axes.T == pytest.approx(np.cov(values.T, bias=True), abs=1e-4)
    assert axes.T @ axes == pytest.approx(np.diag(np.diag(axes.T @ axes)), abs=1e-4)


@given(st.permutations(range(20)), st.integers(0, 20))
def test_order_and_parts_do_not_change_a_bit(order, cut):
    merged = sums_of(order[:cut])
    merged.merge(sums_of(order[cut:]))
    assert merged.colour() == sums_of(range(20)).colour()
