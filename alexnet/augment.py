"""Encoded images to what the network sees: drawn at random for training, fixed for validation.

All geometry is one 2x3 map, applied by one warp; all colour is one 3x4 map, applied in one pass.
Every function is pure: the same data, settings and generator give the same pixels anywhere.

Points are in pixels from the image's top left corner, so that the first pixel's centre is at 0.5.
"""

import math
import threading
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from alexnet import images
from alexnet.config import AugmentConfig

CROP_TRIES = 10
"""As torchvision's `RandomResizedCrop`; after them the largest centred crop is taken."""

CENTRE_SHARE = 224 / 256
"""Part of the short side that validation sees: 224 of 256 px, section 4.1."""

LUMA = np.array([0.299, 0.587, 0.114])
"""Grey of an RGB value; ITU-R BT.601, as Pillow and torchvision."""

YIQ = np.array([LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
"""RGB to YIQ, the colours of NTSC: grey is Y alone, and hue the angle of (I, Q)."""

YIQ_TO_RGB = np.linalg.inv(YIQ)

_scratch = threading.local()
"""Images between two steps of the warp. Memory that is allocated for every image costs a fifth
of the time, because the C library hands it back to the system in between."""

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A rectangle of an image, in its pixels."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """What is done to one image. The defaults do nothing."""

    crop: Box
    flip: bool = False
    rotation_degrees: float = 0.0
    """Counter-clockwise, about the centre of the result."""
    brightness: float = 1.0
    """Factor on all values. Contrast: away from the image's mean grey; saturation: from each
    pixel's grey."""
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    """Turn of the colour circle, in turns."""
    lighting: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Shift along each axis, in standard deviations of the data set along it."""


def augment(
    data: bytes,
    size_px: int,
    settings: AugmentConfig,
    axes: Floats | None,
    rng: np.random.Generator,
) -> Pixels:
    """A random view of an image, for training.

    Args:
        data: encoded image, as `images.decode` takes it.
        size_px: side of the result.
        settings: ranges of the draws.
        axes: (3, 3), RGB in [0, 1]: column i is the i-th principal axis of the data set's values
            times the standard deviation along it. None: no lighting.
        rng: is advanced; a fixed number of draws is taken whatever is turned off.

    Returns:
        (size_px, size_px, 3) RGB.

    Raises:
        DataError: the data is no image, or broken.
    """
    height, width = images.size(data)
    drawn = draw(height, width, settings, rng)
    view = _view(data, height, width, size_px, drawn)
    # The mean costs a pass over the pixels, and only contrast needs it.
    means = np.array(cv2.mean(view)[:3]) if drawn.contrast != 1 else np.zeros(3)
    return apply_colour(view, colour_map(drawn, means, axes))


def evaluate_view(data: bytes, size_px: int) -> Pixels:
    """The centre of an image, for validation: (size_px, size_px, 3) RGB.

    The same as scaling the short side to `size_px` * 256 / 224 and cutting out the centre.

    Raises:
        DataError: the data is no image, or broken.
    """
    height, width = images.size(data)
    side = min(height, width) * CENTRE_SHARE
    left, top = (width - side) / 2, (height - side) / 2
    drawn = Draw(crop=Box(left=left, top=top, width=side, height=side))
    return _view(data, height, width, size_px, drawn)


def draw(height: int, width: int, settings: AugmentConfig, rng: np.random.Generator) -> Draw:
    """What to do to an image of this size."""
    crops, signed = rng.random((2, CROP_TRIES)), rng.uniform(-1, 1, 5).tolist()
    place_x, place_y, mirror = rng.random(3).tolist()
    red, green, blue = (settings.lighting * rng.standard_normal(3)).tolist()
    crop_width, crop_height = _crop_size(height, width, settings, crops)
    found = crop_width > 0
    if not found:
        crop_width, crop_height = _largest_crop(height, width, settings)
        place_x = place_y = 0.5
    return Draw(
        crop=Box(
            left=math.floor(place_x * (width - crop_width + found)),
            top=math.floor(place_y * (height - crop_height + found)),
            width=crop_width,
            height=crop_height,
        ),
        flip=mirror < settings.flip,
        rotation_degrees=settings.rotation_degrees * signed[0],
        brightness=1 + settings.brightness * signed[1],
        contrast=1 + settings.contrast * signed[2],
        saturation=1 + settings.saturation * signed[3],
        hue=settings.hue * signed[4],
        lighting=(red, green, blue),
    )


def _crop_size(
    height: int, width: int, settings: AugmentConfig, uniform: Floats
) -> tuple[int, int]:
    """Width and height of the first of the tries in `uniform` (2, tries) that fits, or (0, 0)."""
    low, high = settings.crop_area
    narrow, wide = (math.log(aspect) for aspect in settings.crop_aspect)
    for try_area, try_aspect in zip(*uniform.tolist(), strict=True):
        area = height * width * (low + (high - low) * try_area)
        aspect = math.exp(narrow + (wide - narrow) * try_aspect)
        crop_width, crop_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            return crop_width, crop_height
    return 0, 0


def _largest_crop(height: int, width: int, settings: AugmentConfig) -> tuple[int, int]:
    """Width and height of the largest crop whose aspect is allowed."""
    narrow, wide = settings.crop_aspect
    crop_width = min(width, max(1, round(height * wide)))
    crop_height = min(height, max(1, round(width / narrow)))
    return crop_width, crop_height


def warp_map(drawn: Draw, size_px: int) -> Floats:
    """(2, 3) map from a point of the result to a point of the image.

    The result is the crop, scaled to the square, mirrored, then rotated; so the map undoes these in
    the opposite order. Where the rotated square leaves the crop it sees the image around it.
    """
    angle = math.radians(drawn.rotation_degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    across, down = drawn.crop.width / size_px, drawn.crop.height / size_px
    if drawn.flip:
        across = -across
    (xx, xy), (yx, yy) = (across * cos, -across * sin), (down * sin, down * cos)
    middle = size_px / 2
    centre_x = drawn.crop.left + drawn.crop.width / 2
    centre_y = drawn.crop.top + drawn.crop.height / 2
    return np.array(
        [
            [xx, xy, centre_x - middle * (xx + xy)],
            [yx, yy, centre_y - middle * (yx + yy)],
        ]
    )


def colour_map(drawn: Draw, means: Floats, axes: Floats | None) -> Floats:
    """(3, 4) map of RGB values in [0, 255], not clipped: `matrix @ rgb + shift`.

    Brightness, contrast and saturation are torchvision's, then the colours are turned about the
    grey axis in YIQ (torchvision turns HSV, which is not linear), then comes PCA lighting.

    Lighting shifts along each axis by a multiple of the standard deviation. Section 4.1 of the
    paper writes the variance, which has the wrong unit: its effect would depend on the range the
    values are in. Our choice.

    Args:
        drawn: what to do.
        means: (3,) of the image's channels; only contrast uses them.
        axes: as for `augment`.
    """
    matrix, shift = drawn.brightness * np.eye(3), np.zeros(3)
    if drawn.contrast != 1:
        # The mean grey after what went before follows from the means: every step is affine.
        grey = LUMA @ (matrix @ means + shift)
        matrix, shift = drawn.contrast * matrix, np.full(3, (1 - drawn.contrast) * grey)
    if drawn.saturation != 1 or drawn.hue != 0:
        turn = _hue_matrix(drawn.hue) @ _saturation_matrix(drawn.saturation)
        matrix, shift = turn @ matrix, turn @ shift
    if axes is not None:
        shift = shift + 255 * (axes @ drawn.lighting)
    return np.column_stack([matrix, shift])


def _saturation_matrix(factor: float) -> Floats:
    # Each row is the grey of the pixel, so this blends the pixel with its grey.
    return factor * np.eye(3) + (1 - factor) * LUMA


def _hue_matrix(turns: float) -> Floats:
    cos, sin = math.cos(2 * math.pi * turns), math.sin(2 * math.pi * turns)
    turn = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    matrix: Floats = YIQ_TO_RGB @ turn @ YIQ
    return matrix


def apply_colour(image: Pixels, colours: Floats) -> Pixels:
    """The (H, W, 3) image with a (3, 4) map applied to every value, rounded and clipped."""
    if np.array_equal(colours, np.eye(3, 4)):
        return image
    mapped: Pixels = cv2.transform(image, colours)
    return mapped


def _view(data: bytes, height: int, width: int, size_px: int, drawn: Draw) -> Pixels:
    """Decode no more than needed, and warp."""
    points = warp_map(drawn, size_px)
    # As small as it may be without the crop ever being enlarged by it.
    crop_px = min(drawn.crop.width, drawn.crop.height)
    min_side_px = math.ceil(min(height, width) * min(1, size_px / crop_px))
    factor = images.reduction(min(height, width), min_side_px)
    image = images.decode_reduced(data, height, width, factor)
    if image.shape[:2] == (-(-height // factor), -(-width // factor)):
        points /= factor  # exactly, though the last pixel may stand for less
    else:
        points /= [[width / image.shape[1]], [height / image.shape[0]]]
    return _warp(*_cut(image, points, size_px), size_px)


def _warp(image: Pixels, points: Floats, size_px: int) -> Pixels:
    # OpenCV's map is between pixel indices: the centre of pixel (0, 0) is at 0, not at 0.5.
    indices = points.copy()
    indices[:, 2] += points[:, :2].sum(axis=1) / 2 - 0.5
    # OpenCV warps four channels in less than half the time of three; the result is the same.
    scratch = _scratch
    scratch.image = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA, dst=getattr(scratch, "image", None))
    scratch.warped = cv2.warpAffine(
        scratch.image,
        indices,
        (size_px, size_px),
        dst=getattr(scratch, "warped", None),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    colours: Pixels = cv2.cvtColor(scratch.warped, cv2.COLOR_RGBA2RGB)
    return colours


def _cut(image: Pixels, points: Floats, size_px: int) -> tuple[Pixels, Floats]:
    """The part of the image that is seen, shrunk where needed, and the map onto it.

    Shrinking averages areas, where the warp, which looks at four pixels only, would skip pixels.
    The cut keeps the warp within what OpenCV can do, sides below 32,768 px.
    """
    moved = points.copy()
    sides, parts = [1, 1], [slice(0), slice(0)]
    for axis, extent in enumerate(image.shape[1::-1]):
        across, down, start = points[axis].tolist()
        # How many pixels of the image a pixel of the result is wide, along this axis.
        shrink = max(1, int(math.hypot(across, down)))
        low = start + size_px * (min(0, across) + min(0, down)) - 2 * shrink
        high = start + size_px * (max(0, across) + max(0, down)) + 2 * shrink
        first = min(max(0, math.floor(low)), extent - 1)
        last = max(first + 1, min(extent, math.ceil(high)))
        parts[axis], sides[axis] = slice(first, last), max(1, round((last - first) / shrink))
        moved[axis, 2] -= first
        moved[axis] *= sides[axis] / (last - first)
    seen = image[parts[1], parts[0]]
    if sides != [seen.shape[1], seen.shape[0]]:
        seen = cv2.resize(seen, sides, interpolation=cv2.INTER_AREA)
    return seen, moved
