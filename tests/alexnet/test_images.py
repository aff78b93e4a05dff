"""Any bytes must end as pixels or as one line that says what was found."""

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from alexnet import images
from alexnet.errors import DataError


def smooth_image(height, width):
    """RGB waves, a few across the image, that no scaling should change much."""
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(9 * down + 5 * across), np.cos(8 * across), np.sin(7 * (down - across))]
    return (128 + 70 * np.dstack(waves)).round().astype(np.uint8)


def difference(image, other):
    return np.abs(image.astype(float) - other)


def as_file(suffix, image):
    return cv2.imencode(suffix, image[:, :, ::-1])[1].tobytes()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".webp", ".jpg"])
def test_each_format_is_read_as_rgb_whatever_its_name(suffix):
    image = smooth_image(37, 53)
    decoded = images.decode(as_file(suffix, image))
    assert decoded.flags.c_contiguous
    assert decoded.dtype == np.uint8
    assert images.size(as_file(suffix, image)) == decoded.shape[:2] == image.shape[:2]
    assert difference(image, decoded).mean() < (20 if suffix == ".gif" else 3)


@pytest.mark.parametrize("quality", ["lossless", "lossy"])
def test_the_size_of_webp_is_found_in_both_its_kinds(quality):
    level = 101 if quality == "lossless" else 80
    data = cv2.imencode(".webp", smooth_image(300, 17), [cv2.IMWRITE_WEBP_QUALITY, level])[1]
    assert images.size(data.tobytes()) == (300, 17)


def test_grey_cmyk_16_bit_and_transparent_images_become_three_channels():
    grey = simplejpeg.encode_jpeg(smooth_image(8, 9)[:, :, :1].copy(), colorspace="GRAY")
    cmyk = simplejpeg.encode_jpeg(np.full((8, 9, 4), 200, np.uint8), colorspace="CMYK")
    deep = cv2.imencode(".png", np.full((8, 9), 40_000, np.uint16))[1].tobytes()
    clear = cv2.imencode(".png", np.full((8, 9, 4), 77, np.uint8))[1].tobytes()
    assert [images.decode(data).shape for data in (grey, cmyk, deep, clear)] == [(8, 9, 3)] * 4
    assert images.decode(clear).min() == images.decode(clear).max() == 77


@pytest.mark.parametrize("stray", [b"", b"\0"], ids=["clean", "stray byte, so OpenCV reads it"])
def test_exif_orientation_is_ignored(stray):
    sideways = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    plain = images.encode_jpeg(smooth_image(20, 30))
    length = (len(sideways) + 2).to_bytes(2)
    turned = plain[:2] + b"\xff\xe1" + length + sideways + stray + plain[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape[0] == 30
    assert images.decode(turned).shape == (20, 30, 3)
    assert difference(images.decode(turned), images.decode(plain)).max() <= 2


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 800))
def test_a_reduced_jpeg_keeps_the_short_side_asked_for_and_is_the_smallest_that_does(
    height, width, min_side_px
):
    data = images.encode_jpeg(np.zeros((height, width, 3), np.uint8))
    short = min(height, width)
    got = min(images.decode(data, min_side_px).shape[:2])
    assert got == -(-short // images.reduction(short, min_side_px))
    assert got >= min(short, min_side_px)
    assert got == -(-short // 8) or -(-got // 2) < min_side_px


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_reduced_decode_is_close_to_a_full_one_averaged_over_areas(factor):
    data = images.encode_jpeg(smooth_image(640, 480), colour_subsampling="420")
    reduced = images.decode(data, 480 // factor)
    averaged = images.resize_short_side(images.decode(data), 480 // factor)
    assert reduced.shape == averaged.shape == (640 // factor, 480 // factor, 3)
    assert difference(reduced, averaged).max() <= 6


@pytest.mark.parametrize("subsampling", ["444", "420"])
def test_encoding_and_decoding_gives_nearly_the_same_image(subsampling):
    image = smooth_image(61, 47)
    data = images.encode_jpeg(image, 95, colour_subsampling=subsampling)
    assert simplejpeg.decode_jpeg_header(data)[3] == subsampling
    assert difference(image, images.decode(data)).mean() < 2


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.booleans())
def test_the_short_side_becomes_what_was_asked_and_grows_only_on_request(
    height, width, short_side_px, enlarge
):
    resized = images.resize_short_side(
        np.zeros((height, width, 3), np.uint8), short_side_px, enlarge=enlarge
    )
    short = min(height, width)
    assert min(resized.shape[:2]) == (short_side_px if enlarge or short > short_side_px else short)


def png_header(height, width):
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4) + height.to_bytes(4)


JPEG = images.encode_jpeg(smooth_image(40, 40))
PNG = as_file(".png", smooth_image(40, 40))
RARE_JPEG_HEADER = b"\xff\xd8\xff\xc0\0\x11\x08" + b"\xff\xff" * 2 + b"\x03" + b"\x01\x44\0" * 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "an empty file"),
        (
            b"<html>404</html>",
            "not a JPEG, PNG, GIF, BMP or WebP image: it begins with b'<html>40'",
        ),
        (JPEG[:2], "no start of frame"),
        (JPEG[: len(JPEG) // 2], "a broken JPEG: Premature end of JPEG file"),
        (PNG[:20], "its header ends after 20 bytes"),
        (PNG[:60], "cannot be decoded"),
        (png_header(0, 7), "its header says 7x0 pixels"),
        (png_header(100_000, 100_000), "an image of 100000x100000 pixels: must have at most 17"),
        (RARE_JPEG_HEADER, "an image of 65535x65535 pixels"),
    ],
)
def test_what_is_no_image_is_refused_with_what_was_found(data, message):
    with pytest.raises(DataError, match=message):
        images.decode(data)


def outcome(data):
    """Whether the data is an image, or is refused in one line."""
    try:
        return images.decode(data).ndim == 3
    except DataError as error:
        return "\n" not in str(error)


@given(st.binary(max_size=60), st.sampled_from([b"\xff\xd8", PNG[:8], b"GIF89a", b"BM", JPEG, PNG]))
def test_no_bytes_raise_anything_but_a_data_error(data, start):
    assert outcome(start + data)


@given(st.integers(0, len(JPEG) - 1), st.integers(0, 255), st.sampled_from([JPEG, PNG]))
def test_an_altered_byte_raises_nothing_but_a_data_error(place, value, file):
    place %= len(file)
    assert outcome(file[:place] + bytes([value]) + file[place + 1 :])
