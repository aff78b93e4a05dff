"""A decision as an HTML page: the rules, and the images whose prediction changed sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexnet import augment, clock, images
from alexnet.dataset.shard_reader import ShardReader
from alexnet.html_page import render
from alexnet.promotion.decisions import Decision
from alexnet.promotion.predictions import Predictions

MOST_SHOWN = 24
"""Images of each side."""

SIDE_PX = 96


@dataclass(frozen=True, slots=True)
class Changed:
    """An image that one of two versions has right."""

    jpeg: bytes
    """Of `SIDE_PX`."""
    label: str
    champion: str
    challenger: str
    """What each of the two named."""


def changed(
    reader: ShardReader,
    ids: NDArray[np.int64],
    champion: Predictions,
    challenger: Predictions,
    classes: Sequence[str],
) -> list[Changed]:
    """The first of some images, to be shown.

    Args:
        reader: of the validation split.
        ids: their positions in it.
        champion: predictions of the split.
        challenger: of the same.
        classes: names, in label order.

    Raises:
        DataError, StoreError: they cannot be read.
    """
    found = []
    for image in ids[:MOST_SHOWN].tolist():
        view = augment.evaluate_view(reader.sample(image).file(), SIDE_PX)
        named = (classes[int(each[image])] for each in (champion.predicted, challenger.predicted))
        label = classes[int(challenger.label[image])]
        found.append(Changed(images.encode_jpeg(view), label, *named))
    return found


def to_html(
    title: str, decision: Decision, gained: Sequence[Changed], lost: Sequence[Changed]
) -> str:
    """The page."""
    headline = [
        ("Decision", f"{decision.number}, {clock.readable(decision.time_ms)}, by {decision.by}"),
        ("Champion before", _version(decision.before.champion)),
        ("Champion after", _version(decision.after.champion)),
    ]
    if decision.reason:
        headline.append(("Reason given", decision.reason))
    return render(
        "decision.html",
        title=f"{title}: {decision.kind}",
        headline=headline,
        rules=decision.verdicts,
        sheets=[
            _sheet("Right now, and wrong before", gained),
            _sheet("Wrong now, and right before", lost),
        ],
    )


def _version(number: int | None) -> str:
    return "none" if number is None else f"version {number}"


def _sheet(heading: str, shown: Sequence[Changed]) -> tuple[str, list[tuple[bytes, str]]]:
    first = f" (the first {MOST_SHOWN})" if len(shown) == MOST_SHOWN else ""
    captions = [f"{each.label}: {each.champion} before, {each.challenger} now" for each in shown]
    return heading + first, [(e.jpeg, text) for e, text in zip(shown, captions, strict=True)]
