"""The page shows every rule and the images that changed sides, and nothing on it is run."""

import numpy as np
import pytest

from alexnet import images
from alexnet.dataset.shard_reader import ShardReader
from alexnet.promotion import decision_page, gate
from alexnet.promotion.decisions import AliasTargets, Decision
from alexnet.promotion.predictions import Predictions
from alexnet.registry.rule_result import RuleResult
from tests.tiny_data import NUM_VAL

CLASSES = ["red", "green", "blue"]


def predictions(right, label):
    return Predictions(
        manifest_digest="m",
        weights_sha256="w",
        label=label,
        predicted=np.where(right, label, (label + 1) % 3),
        confidence=np.ones(len(label), np.float32),
        rank=np.where(right, 0, 1),
        loss=np.zeros(len(label), np.float32),
    )


@pytest.fixture
def both(tiny):
    """What two models made of the tiny split: the second has gained 2 images and lost 1."""
    label = np.arange(NUM_VAL) % 3
    before, now = np.ones(NUM_VAL, bool), np.ones(NUM_VAL, bool)
    before[[3, 28]] = now[20] = False
    return predictions(before, label), predictions(now, label)


def test_images_that_changed_sides_are_shown_with_what_each_version_named(tiny, both):
    store, manifest = tiny
    reader = ShardReader(store, manifest.split("val"))
    gained, lost = (
        decision_page.changed(reader, ids, *both, CLASSES) for ids in gate.changed_sides(*both)
    )
    assert [(each.label, each.champion, each.challenger) for each in gained] == [
        ("red", "green", "red"),
        ("green", "blue", "green"),
    ]
    assert [(each.label, each.champion, each.challenger) for each in lost] == [
        ("blue", "blue", "red")
    ]
    for each in (*gained, *lost):
        pixels = images.decode(each.jpeg)
        assert pixels.shape == (96, 96, 3)
        assert pixels.mean((0, 1)).argmax() == CLASSES.index(each.label)


def test_what_is_said_is_text_and_no_markup(tiny):
    decision = Decision(
        number=1,
        kind="refused",
        version=2,
        before=AliasTargets(1, None),
        after=AliasTargets(1, None),
        reason="<script>alert(1)</script>",
        verdicts=(RuleResult("gain", "<b>0</b>", "at least 0", holds=False),),
        by="<i>@host",
    )
    shown = decision_page.Changed(b"", "<u>", "<u>", "<u>")
    page = decision_page.to_html("alexnet version 2", decision, [shown] * 24, [])
    assert not any(tag in page for tag in ("<script", "<b>", "<i>", "<u>"))
    assert "&lt;script&gt;" in page
    assert "Right now, and wrong before (the first 24)" in page
    assert "Wrong now" not in page
    assert "class=bad>NO" in page
