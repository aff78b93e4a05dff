"""Mean, deviation and principal axes of colour, from sums that add up over machines."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from alexnet.dataset.manifest import Colour

COLOUR_SIDE_PX = 32
"""Images are averaged down to this side before their colours are measured: the statistics are of
the scene, not of the JPEG noise, and cost a hundredth."""


@dataclass(slots=True)
class ColourSums:
    """Sums over pixels that add up to the mean and covariance of RGB values in [0, 1].

    Sums are of integers, so that their order and grouping do not change a bit of the result.
    """

    pixels: int = 0
    total: tuple[int, ...] = (0,) * 3
    """(3,) of values in 0..255."""
    products: tuple[int, ...] = (0,) * 9
    """(3 * 3,) of products of them."""

    def add(self, image: NDArray[np.uint8]) -> None:
        """Count an image, (H, W, 3) RGB."""
        side = (COLOUR_SIDE_PX, COLOUR_SIDE_PX)
        small = cv2.resize(image, side, interpolation=cv2.INTER_AREA)
        values = small.reshape(-1, 3).astype(np.int64)
        products = (values.T @ values).ravel()
        self.merge(ColourSums(len(values), tuple(values.sum(0).tolist()), tuple(products.tolist())))

    def merge(self, other: "ColourSums") -> None:
        """Count all that another one counted."""
        self.pixels += other.pixels
        self.total = tuple(a + b for a, b in zip(self.total, other.total, strict=True))
        self.products = tuple(a + b for a, b in zip(self.products, other.products, strict=True))

    def colour(self) -> Colour:
        """Mean, standard deviation and principal axes of all pixels counted."""
        mean = np.array(self.total) / self.pixels / 255
        products = np.array(self.products).reshape(3, 3) / self.pixels / 255**2
        covariance = products - np.outer(mean, mean)
        variances, vectors = np.linalg.eigh(covariance)
        # An eigenvector's sign is arbitrary and may differ between machines: make its largest
        # entry positive, and round, so that the manifest's bytes are the same everywhere.
        signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), range(3)])
        axes = vectors * signs * np.sqrt(np.maximum(variances, 0))
        std = np.sqrt(np.maximum(np.diag(covariance), 1e-4))
        return Colour(
            mean=_rounded(mean),
            std=_rounded(std),
            axes=tuple(_rounded(row) for row in axes[:, ::-1]),
        )


def _rounded(values: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 5) for value in values)
    return red, green, blue
