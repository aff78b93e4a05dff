"""What so many images can tell."""

import math

DISCORDANT = 0.2
"""Share of images that just one of two models gets right; of our models about a fifth, or less."""


def least_difference(num_images: int) -> float:
    """The difference in top-1 of two models, in [0, 1], that chance alone rarely makes.

    Half the width of the 95 % interval of a paired comparison (McNemar 1947).
    """
    return min(1.0, 1.96 * math.sqrt(DISCORDANT / num_images))


def sufficiency(num_images: int) -> str:
    """What so many validation images can tell, in words."""
    return (
        f"{num_images:,} validation images tell a difference in top-1 of "
        f"{least_difference(num_images):.1%} from chance"
    )
