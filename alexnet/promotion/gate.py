"""The gate's rules: compares challenger and champion, with a figure and a yes or no for each.

Rules about how well the models do compare their predictions image by image; the others are looked
at where what they ask for is known (`pipelines/promote.py`), and all of them must hold.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alexnet.config import GateConfig
from alexnet.errors import DataError
from alexnet.promotion.predictions import Predictions
from alexnet.promotion.significance import gain_interval, holm, mcnemar
from alexnet.registry.rule_result import RuleResult


def judge(
    champion: Predictions | None,
    challenger: Predictions,
    settings: GateConfig,
    classes: Sequence[str],
) -> list[RuleResult]:
    """Hold the challenger's predictions to the rules.

    Args:
        champion: None if there is none: then only what is asked of a first version counts.
        challenger: of the same images.
        settings: limits.
        classes: names, in label order.

    Raises:
        DataError: the predictions are of different images.
    """
    if champion is None:
        return [
            _first(challenger, settings),
            _better_than_naming_one(challenger, settings, classes),
            _calibration(challenger, settings),
        ]
    if (champion.manifest_digest, len(champion.label)) != (
        challenger.manifest_digest,
        len(challenger.label),
    ):
        raise DataError(
            f"predictions of manifest {champion.manifest_digest[:12]} and of manifest "
            f"{challenger.manifest_digest[:12]} cannot be compared. Evaluate both on one."
        )
    return [
        _gain(champion, challenger, settings),
        _significance(champion, challenger, settings),
        _classes(champion, challenger, settings, classes),
        _calibration(challenger, settings),
    ]


def changed_sides(champion: Predictions, challenger: Predictions) -> tuple[NDArray[np.int64], ...]:
    """Images that the challenger alone has right, and those that the champion alone had right."""
    gained = np.flatnonzero(challenger.right & ~champion.right)
    lost = np.flatnonzero(champion.right & ~challenger.right)
    return gained, lost


def _first(challenger: Predictions, settings: GateConfig) -> RuleResult:
    top1 = challenger.top1
    wanted = f"at least {settings.min_top1:.4f}, as there is no champion"
    return RuleResult("top-1", f"{top1:.4f}", wanted, top1 >= settings.min_top1)


def _better_than_naming_one(
    challenger: Predictions, settings: GateConfig, classes: Sequence[str]
) -> RuleResult:
    """Against a model that names the commonest class of every image."""
    commonest = int(np.bincount(challenger.label, minlength=len(classes)).argmax())
    named = challenger.label == commonest
    gained = np.count_nonzero(challenger.right & ~named)
    lost = np.count_nonzero(named & ~challenger.right)
    p_value = float(mcnemar(np.array(gained), np.array(lost)))
    found = f"{challenger.top1:.4f} to {named.mean():.4f} ({classes[commonest]}): {_p(p_value)}"
    wanted = f"p at most {settings.alpha:g}"
    return RuleResult("better than one answer", found, wanted, p_value <= settings.alpha)


def _gain(champion: Predictions, challenger: Predictions, settings: GateConfig) -> RuleResult:
    gained, lost = (len(ids) for ids in changed_sides(champion, challenger))
    images = len(challenger.label)
    gain = (gained - lost) / images
    low, high = gain_interval(gained, lost, images)
    found = (
        f"{champion.top1:.4f} to {challenger.top1:.4f}: {gain:+.4f}, 95 % interval {low:+.4f} to "
        f"{high:+.4f}"
    )
    return RuleResult(
        "gain in top-1", found, f"at least {settings.min_gain:+.4f}", gain >= settings.min_gain
    )


def _significance(
    champion: Predictions, challenger: Predictions, settings: GateConfig
) -> RuleResult:
    gained, lost = (len(ids) for ids in changed_sides(champion, challenger))
    p_value = float(mcnemar(np.array(gained), np.array(lost)))
    found = f"{gained} images gained, {lost} lost: {_p(p_value)}"
    return RuleResult(
        "more than chance", found, f"p at most {settings.alpha:g}", p_value <= settings.alpha
    )


def _classes(
    champion: Predictions, challenger: Predictions, settings: GateConfig, classes: Sequence[str]
) -> RuleResult:
    """A class counts as worse if it lost more than the limit, and more than chance explains."""
    number = len(classes)
    images = np.maximum(1, np.bincount(challenger.label, minlength=number))
    gained, lost = (
        np.bincount(challenger.label[ids], minlength=number)
        for ids in changed_sides(champion, challenger)
    )
    loss = (lost - gained) / images
    p_values = holm(mcnemar(lost, gained))
    worse = np.flatnonzero((loss > settings.max_class_loss) & (p_values <= settings.alpha))
    shown = worse[np.argsort(-loss[worse])] if len(worse) else [int(np.argmax(loss))]
    found = "" if len(worse) else "the worst: "
    found += ", ".join(
        f"{classes[k]} {0 - loss[k]:+.4f} ({_p(float(p_values[k]))})" for k in shown[:MOST_NAMED]
    )
    if len(shown) > MOST_NAMED:
        found += f" and {len(shown) - MOST_NAMED} more"
    wanted = f"none loses more than {settings.max_class_loss:.4f}, p at most {settings.alpha:g}"
    return RuleResult("every class", found, wanted, not len(worse))


MOST_NAMED = 5
"""Classes in a finding."""


def _calibration(challenger: Predictions, settings: GateConfig) -> RuleResult:
    error, most = challenger.calibration_error, settings.max_calibration_error
    return RuleResult("calibration error", f"{error:.4f}", f"at most {most:.4f}", error <= most)


def _p(p_value: float) -> str:
    """In two digits; one that is too small for a float is not shown as impossible."""
    return f"p = {p_value:.2g}" if p_value > SMALLEST else f"p < {SMALLEST:g}"


SMALLEST = 1e-99
"""P-value that is shown."""
