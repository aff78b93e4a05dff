"""The validation split of a source that has none: the same share of each class, by hashed names."""

import numpy as np
from numpy.typing import NDArray

MIN_SHARE, MAX_SHARE, ENOUGH = 0.05, 0.2, 1000
"""So many images tell a difference in top-1 of 2.8 % (`sample_size.least_difference`), and are
wanted; but not more than a fifth of all, nor less than 5 %."""


def default_share(num_images: int) -> float:
    """Share of a data set of so many images that validates where nobody says how much."""
    return min(MAX_SHARE, max(MIN_SHARE, ENOUGH / max(num_images, 1)))


def validating(
    draws: NDArray[np.uint64], labels: NDArray[np.uint32], share: float
) -> NDArray[np.bool_]:
    """Which images validate: an image's draw decides, so it stays where it is when others come.

    Args:
        draws: (images,) in [0, 2^63), each from an image's name alone.
        labels: (images,).
        share: in [0, 1) of each class. Above 0, no class with two images or more is without one to
            validate with, and none is without one to train on.
    """
    chosen: NDArray[np.bool_] = draws < np.uint64(share * 2**63)
    if not share:
        return chosen
    order = np.lexsort((draws, labels))
    begins = np.flatnonzero(np.diff(labels[order], prepend=-1))
    ends = np.append(begins[1:], len(order))
    several = ends - begins > 1
    chosen[order[begins[several]]] = True  # the smallest draw of a class
    chosen[order[ends - 1]] = False  # the largest
    return chosen
