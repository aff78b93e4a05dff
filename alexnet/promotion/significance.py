"""Significance tests of the difference between two models on the same images.

All of it depends on two counts: images that the new model alone has right (gained), and images
that the old one alone had right (lost). Where both agree nothing is learnt about which is better.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

DRAWS = 10_000
"""Of the bootstrap; the ends of a 95 % interval are then within 0.2 of its standard error."""


def mcnemar(gained: NDArray[np.int64], lost: NDArray[np.int64]) -> NDArray[np.float64]:
    """How likely so many gains or more are, if neither model is better.

    The exact one-sided form of McNemar's test (Psychometrika 12, 1947): each image that changed
    sides did so either way with the same chance. It holds for any number of images.

    Args:
        gained: (...) counts.
        lost: (...) counts.

    Returns:
        (...) p-values in (0, 1]; 1 where no image changed sides.
    """
    p_values: NDArray[np.float64] = np.asarray(binom.sf(gained - 1, gained + lost, 0.5))
    return p_values


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values that may be compared with one level although there are many of them.

    Holm's method (Scandinavian Journal of Statistics 6, 1979): if nothing is true of any of them,
    one or more are at or below the level in at most that share of cases, dependent or not.

    Args:
        p_values: (K,) in [0, 1].

    Returns:
        (K,) in [0, 1], in the same order, none below the one given.
    """
    order = np.argsort(p_values, kind="stable")
    left = np.arange(len(p_values), 0, -1)  # how many are not smaller
    adjusted = np.minimum(1.0, np.maximum.accumulate(left * p_values[order]))
    return adjusted[np.argsort(order, kind="stable")]


def gain_interval(
    gained: int, lost: int, images: int, *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Where the gain in accuracy lies, by drawing the images again.

    The percentile interval of the bootstrap (Efron, Annals of Statistics 7, 1979), paired: an image
    is drawn with what both models made of it. There are three kinds of images, so that drawing all
    of them is one draw from a multinomial distribution.

    Args:
        gained: images that the new model alone has right.
        lost: images that the old one alone had right.
        images: all of them.
        level: share of cases in which it holds.
        seed: of the draws.

    Returns:
        Low and high end, in [-1, 1].
    """
    shares = np.array([gained, lost, images - gained - lost]) / images
    drawn = np.random.default_rng(seed).multinomial(images, shares, size=DRAWS)
    gains = (drawn[:, 0] - drawn[:, 1]) / images
    low, high = np.quantile(gains, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
