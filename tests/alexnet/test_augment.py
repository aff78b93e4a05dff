"""Two small matrices must do what a chain of torchvision's operations does."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from alexnet import augment, images, seeds
from alexnet.augment import Box, Draw
from alexnet.config import AugmentConfig
from alexnet.errors import DataError

NOTHING = AugmentConfig(
    crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0), flip=0.0, rotation_degrees=0.0,
    brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, lighting=0.0,
)  # fmt: skip
AXES = np.array([[0.2, 0.05, -0.01], [0.2, 0.0, 0.02], [0.2, -0.05, -0.01]])
SIZE_PX = 64

sides = st.integers(1, 400)
seed = st.integers(0, 1000)
factor = st.floats(0.5, 1.5)


def smooth_image(height, width):
    """RGB waves, a few across the image, and no two corners alike."""
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(9 * down + 5 * across), np.cos(8 * across), np.sin(7 * (down - across))]
    return (128 + 60 * np.dstack(waves)).round().astype(np.uint8)


def as_png(image):
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def as_tensor(image):
    return torch.from_numpy(image).permute(2, 0, 1)


def as_image(tensor):
    return tensor.permute(1, 2, 0).numpy().astype(float)


def whole(height, width, **changes):
    return Draw(crop=Box(left=0, top=0, width=width, height=height), **changes)


def view(image, drawn, size_px=SIZE_PX):
    return augment._view(as_png(image), *image.shape[:2], size_px, drawn).astype(float)


def inner(image, edge=3):
    return image[edge:-edge, edge:-edge]


def chained(values, drawns):
    """(N, 3) floats with one colour change after another, each with the means it finds."""
    for drawn in drawns:
        colours = augment.colour_map(drawn, values.mean(axis=0), AXES)
        values = values @ colours[:, :3].T + colours[:, 3]
    return values


@given(sides, sides, seed, st.floats(0.01, 1), st.floats(0.1, 10))
def test_crops_stay_inside_images_of_any_size(height, width, seed, area, aspect):
    ranges = AugmentConfig(crop_area=(area / 2, area), crop_aspect=(aspect / 2, aspect))
    crop = augment.draw(height, width, ranges, seeds.generator(seed)).crop
    assert crop.width >= 1
    assert crop.height >= 1
    assert 0 <= crop.left <= width - crop.width
    assert 0 <= crop.top <= height - crop.height


@pytest.mark.parametrize("shape", [(300, 400), (100, 500), (500, 100)])
def test_crops_are_distributed_as_torchvision_draws_them(shape):
    torch.manual_seed(0)
    theirs = RandomResizedCrop(SIZE_PX)
    wanted = [theirs.make_params([torch.empty(3, *shape)]) for _ in range(3000)]
    rng = seeds.generator(0)
    crops = [augment.draw(*shape, AugmentConfig(), rng).crop for _ in range(3000)]
    for key in ("left", "top", "width", "height"):
        ours, expected = (
            [float(v) for v in values]
            for values in (
                [getattr(crop, key) for crop in crops],
                [params[key] for params in wanted],
            )
        )
        assert np.quantile(ours, [0.1, 0.5, 0.9]) == pytest.approx(
            np.quantile(expected, [0.1, 0.5, 0.9]), abs=0.04 * max(shape)
        )


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.sampled_from(["png", "jpeg"]), seed, st.integers(1, 100))
def test_any_image_gives_the_square_asked_for_and_always_the_same(height, width, kind, seed, side):
    image = smooth_image(height, width)
    data = as_png(image) if kind == "png" else images.encode_jpeg(image)
    ranges = AugmentConfig(rotation_degrees=180)
    first, again = (
        augment.augment(data, side, ranges, AXES, seeds.generator(seed)) for _ in range(2)
    )
    assert first.shape == augment.evaluate_view(data, side).shape == (side, side, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)


@pytest.mark.parametrize("shape", [(1, 40_000), (40_000, 1)])
def test_images_longer_than_opencv_can_warp_are_no_problem(shape):
    data = images.encode_jpeg(np.full((*shape, 3), 90, np.uint8))
    drawn = augment.augment(data, 64, AugmentConfig(), None, seeds.generator(0))
    assert drawn.shape == augment.evaluate_view(data, 64).shape == (64, 64, 3)


def test_turning_one_change_off_leaves_the_other_draws_as_they_were():
    full = augment.draw(300, 400, AugmentConfig(), seeds.generator(1))
    without = augment.draw(300, 400, AugmentConfig(rotation_degrees=0), seeds.generator(1))
    assert without == replace(full, rotation_degrees=0.0)


def test_with_everything_off_a_square_image_comes_back_unchanged():
    image = smooth_image(SIZE_PX, SIZE_PX)
    same = augment.augment(as_png(image), SIZE_PX, NOTHING, None, seeds.generator(0))
    assert np.array_equal(same, image)


def test_a_crop_is_scaled_as_torchvision_scales_it():
    image = smooth_image(90, 120)
    crop = Box(left=13, top=7, width=70, height=58)
    theirs = tv.resized_crop(
        as_tensor(image).float(), 7, 13, 58, 70, [SIZE_PX, SIZE_PX], antialias=False
    )
    # At its edges torchvision repeats the crop's border; here the image around the crop is seen.
    assert inner(view(image, Draw(crop=crop))) == pytest.approx(inner(as_image(theirs)), abs=2)


def test_a_flip_is_torchvisions():
    image = smooth_image(SIZE_PX, SIZE_PX)
    ours = view(image, whole(SIZE_PX, SIZE_PX, flip=True))
    assert np.array_equal(ours, as_image(tv.hflip(as_tensor(image))))


@pytest.mark.parametrize("degrees", [-170.0, -10.0, 3.0, 45.0, 90.0])
@pytest.mark.parametrize("flip", [False, True])
def test_a_rotation_after_a_flip_is_torchvisions(degrees, flip):
    image = smooth_image(SIZE_PX, SIZE_PX)
    tensor = as_tensor(image).float()
    theirs = tv.rotate(tv.hflip(tensor) if flip else tensor, degrees, InterpolationMode.BILINEAR)
    ours = view(image, whole(SIZE_PX, SIZE_PX, flip=flip, rotation_degrees=degrees))
    # Its corners are black there and mirrored here: compare what is inside for any angle.
    assert inner(ours, 12) == pytest.approx(inner(as_image(theirs), 12), abs=2)


@given(
    st.floats(0, 90), st.floats(0, 90), st.floats(1, 99), st.floats(1, 99),
    st.booleans(), st.floats(-180, 180),
)  # fmt: skip
def test_the_one_geometric_map_is_its_parts_one_after_another(
    left, top, width, height, flip, degrees
):
    crop = Box(left=left, top=top, width=width, height=height)
    whole_map = augment.warp_map(Draw(crop=crop, flip=flip, rotation_degrees=degrees), SIZE_PX)
    square = Box(left=0, top=0, width=SIZE_PX, height=SIZE_PX)
    parts = [
        Draw(crop=crop),
        Draw(crop=square, flip=flip),
        Draw(crop=square, rotation_degrees=degrees),
    ]
    product = np.eye(3)
    for part in parts:
        product = product @ np.vstack([augment.warp_map(part, SIZE_PX), [0, 0, 1]])
    assert whole_map == pytest.approx(product[:2], abs=1e-9)


@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_a_reduced_decode_shows_the_same_view_as_a_full_one(degrees):
    image = smooth_image(999, 1301)  # no multiple of 8: the last pixels stand for less
    drawn = Draw(
        crop=Box(left=201, top=99, width=1100, height=900), flip=True, rotation_degrees=degrees
    )
    jpeg = images.encode_jpeg(image, 98)
    reduced = augment._view(jpeg, *image.shape[:2], 200, drawn).astype(float)
    assert reduced == pytest.approx(view(image, drawn, 200), abs=5)


def test_a_reduced_decode_is_not_stretched_where_its_last_pixels_stand_for_less():
    triangles = np.abs(np.arange(1297) % 400 - 200).astype(np.uint8)  # 1297 / 4 leaves 1
    image = np.broadcast_to(triangles[None, :, None], (993, 1297, 3))
    drawn = Draw(crop=Box(left=97, top=0, width=1200, height=900))
    reduced = augment._view(images.encode_jpeg(image, 98), *image.shape[:2], 200, drawn)
    assert np.abs(reduced - view(image, drawn, 200)).mean() < 0.7


def test_a_fine_pattern_is_averaged_not_sampled():
    image = np.zeros((1024, 1024, 3), np.uint8)
    image[::2] = 255
    for data in (as_png(image), images.encode_jpeg(image)):
        assert augment.evaluate_view(data, 100) == pytest.approx(127.5, abs=3)


@pytest.mark.slow
@given(factor)
def test_brightness_contrast_and_saturation_are_torchvisions(factor):
    image = smooth_image(32, 32)
    pixels = image.reshape(-1, 3).astype(float)
    tensor = as_tensor(image).double() / 255
    for key in ("brightness", "contrast", "saturation"):
        theirs = getattr(tv, f"adjust_{key}")(tensor, factor)
        ours = chained(pixels, [whole(32, 32, **{key: factor})]).reshape(image.shape)
        # Its weights of grey are rounded to four digits.
        assert ours.clip(0, 255) == pytest.approx(255 * as_image(theirs), abs=0.1)


@given(
    factor, factor, factor, st.floats(-0.5, 0.5),
    st.tuples(*[st.floats(-0.3, 0.3)] * 3), seed,
)  # fmt: skip
def test_the_one_colour_map_is_its_parts_one_after_another_without_clipping(
    brightness, contrast, saturation, hue, lighting, seed
):
    pixels = np.random.default_rng(seed).uniform(0, 255, (50, 3))
    drawn = whole(
        1, 1, brightness=brightness, contrast=contrast,
        saturation=saturation, hue=hue, lighting=lighting,
    )  # fmt: skip
    parts = [
        whole(1, 1, brightness=brightness), whole(1, 1, contrast=contrast),
        whole(1, 1, saturation=saturation), whole(1, 1, hue=hue), whole(1, 1, lighting=lighting),
    ]  # fmt: skip
    assert chained(pixels, [drawn]) == pytest.approx(chained(pixels, parts), abs=1e-8)


@given(st.floats(-0.5, 0.5), st.tuples(*[st.floats(0, 255)] * 3))
def test_hue_keeps_every_greys_value_and_is_undone_by_its_opposite(turns, colour):
    pixels = np.array([colour])
    turned = chained(pixels, [whole(1, 1, hue=turns)])
    assert turned @ augment.LUMA == pytest.approx(pixels @ augment.LUMA, abs=1e-2)
    assert chained(turned, [whole(1, 1, hue=-turns)]) == pytest.approx(pixels, abs=1e-8)


@pytest.mark.parametrize("turns", [-0.02, 0.02])
def test_hue_turns_the_same_way_as_torchvisions(turns):
    colours = np.array([[200, 80, 80], [80, 200, 80], [80, 80, 200], [180, 170, 60.0]])
    tensor = torch.from_numpy(colours / 255).T[:, :, None]
    theirs = 255 * tv.adjust_hue(tensor, turns)[:, :, 0].T.numpy() - colours
    ours = chained(colours, [whole(1, 1, hue=turns)]) - colours
    cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    # Not the same paths: ours is a circle about grey, torchvision's a hexagon.
    assert cosines.min() > 0.2


def test_lighting_shifts_all_pixels_along_the_axes():
    shifted = chained(np.zeros((2, 3)), [whole(1, 1, lighting=(0.1, -0.2, 0.0))])
    assert shifted == pytest.approx(np.tile(255 * (0.1 * AXES[:, 0] - 0.2 * AXES[:, 1]), (2, 1)))


def test_lighting_draws_have_the_standard_deviation_asked_for():
    rng = seeds.generator(3)
    draws = [augment.draw(9, 9, AugmentConfig(lighting=0.1), rng).lighting for _ in range(2000)]
    assert np.std(draws, axis=0) == pytest.approx([0.1] * 3, rel=0.1)


def test_colours_are_rounded_and_clipped():
    image = smooth_image(40, 40)
    colours = augment.colour_map(whole(40, 40, brightness=1.4, hue=0.1), np.zeros(3), None)
    exact = (image.reshape(-1, 3) @ colours[:, :3].T + colours[:, 3]).clip(0, 255)
    mapped = augment.apply_colour(image, colours).reshape(-1, 3).astype(float)
    # Half a level of rounding, and OpenCV's coefficients of 10 bits.
    assert mapped == pytest.approx(exact, abs=0.8)


def test_a_neutral_colour_map_returns_the_image_itself():
    image = smooth_image(5, 5)
    neutral = augment.colour_map(whole(5, 5), np.zeros(3), None)
    assert augment.apply_colour(image, neutral) is image


def test_validation_sees_224_of_256_pixels_at_the_centre():
    image = smooth_image(256, 300)
    seen = augment.evaluate_view(as_png(image), 224)
    assert np.array_equal(seen, image[16:240, 38:262])


def test_broken_data_is_refused():
    with pytest.raises(DataError, match="an empty file"):
        augment.augment(b"", 64, AugmentConfig(), None, seeds.generator(0))
