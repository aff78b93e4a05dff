"""Counts must add up to the same whatever the parts they were counted in."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alexnet.errors import DataError
from alexnet.training.evaluation import Counts


def batch(images, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, generator=generator)
    return logits, torch.randint(classes, (images,), generator=generator)


@given(st.integers(1, 60), st.integers(2, 12), st.data())
def test_any_parts_add_up_to_the_whole(images, classes, data):
    logits, labels = batch(images, classes)
    cut = data.draw(st.integers(0, images))
    parts = Counts.of(logits[:cut], labels[:cut]) + Counts.of(logits[cut:], labels[cut:])
    whole = Counts.of(logits, labels)
    assert (parts.images, parts.top1, parts.top5) == (whole.images, whole.top1, whole.top5)
    assert parts.loss_sum == pytest.approx(whole.loss_sum, rel=1e-5)


@given(st.integers(1, 40), st.integers(2, 12))
def test_top1_and_top5_are_those_of_sorting(images, classes):
    logits, labels = batch(images, classes)
    order = logits.argsort(1, descending=True)
    counts = Counts.of(logits, labels)
    assert counts.top1 == sum(row[0] == label for row, label in zip(order, labels, strict=True))
    assert counts.top5 == sum(label in row[:5] for row, label in zip(order, labels, strict=True))


def test_the_same_answer_for_all_classes_is_never_right():
    counts = Counts.of(torch.zeros(4, 10), torch.arange(4))
    assert (counts.top1, counts.top5) == (0, 0)


def test_a_network_that_answers_nan_is_never_right():
    counts = Counts.of(torch.full((4, 10), torch.nan), torch.arange(4))
    assert (counts.top1, counts.top5) == (0, 0)


def test_counts_survive_the_tensor_exactly():
    counts = Counts(2**40 + 1, 2**40 - 1, 3, 0.125)
    assert Counts.from_tensor(counts.as_tensor()) == counts


def test_rates_are_fractions_and_the_mean_loss():
    assert Counts(4, 1, 3, 2.0).rates() == {"top1": 0.25, "top5": 0.75, "loss": 0.5}


def test_rates_of_nothing_are_refused():
    with pytest.raises(DataError, match="no image was evaluated"):
        Counts(0, 0, 0, 0.0).rates()
