"""Images that training does not decode become the pixels that their format says."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from alexnet.errors import DataError
from alexnet.preparation.image_inspection import examine, reason

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
SMOOTH = np.dstack([np.mgrid[0:40, 0:60][0] * 5] * 2 + [np.mgrid[0:40, 0:60][1] * 4]).astype("u1")
GREY16 = np.random.default_rng(1).integers(0, 65536, (20, 30), dtype=np.uint16)


def saved(pixels, kind, mode=None, **options):
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "kind", "notes", "pixels"),
    [
        (saved(PICTURE, "TIFF"), "TIFF", (), PICTURE),
        (saved(PICTURE, "TIFF", compression="tiff_lzw"), "TIFF", (), PICTURE),
        (saved(PICTURE, "TIFF", "RGBA"), "TIFF", ("alpha dropped",), PICTURE),
        (saved(PICTURE[:, :, 0], "TIFF"), "TIFF", ("grey",), PICTURE[:, :, :1]),
        (saved(GREY16, "TIFF"), "TIFF", ("16 bit", "grey"), GREY16[:, :, None] >> 8),
        (
            saved(GREY16 >> 4, "TIFF"),
            "TIFF",
            ("16 bit, of which 12 are used (0 to 4095)", "grey"),
            GREY16[:, :, None] >> 12,
        ),
        (
            saved(PICTURE, "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))]),
            "TIFF",
            ("first of several images",),
            PICTURE,
        ),
        (saved(PICTURE, "PPM"), "PPM", (), PICTURE),
        (saved(PICTURE[:, :, 0], "PPM"), "PPM", ("grey",), PICTURE[:, :, :1]),
        (saved(GREY16, "PPM"), "PPM", ("16 bit", "grey"), GREY16[:, :, None] >> 8),
    ],
)
def test_pixels_are_those_that_were_stored(data, kind, notes, pixels):
    found = examine(data, convert=True)
    assert (found.format, found.notes) == (kind, notes)
    assert np.array_equal(found.pixels, np.broadcast_to(pixels, (20, 30, 3)))
    assert found.pixels.dtype == np.uint8


def test_avif_is_decoded_to_the_picture():
    found = examine(saved(SMOOTH, "AVIF", quality=100), convert=True)
    assert (found.format, found.notes) == ("AVIF", ())
    assert np.abs(found.pixels.astype(int) - SMOOTH).mean() < 4


def test_a_photograph_of_a_phone_is_decoded_where_its_library_is():
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs pip install '.[heic]'")
    pillow_heif.register_heif_opener()
    found = examine(saved(SMOOTH, "HEIF", quality=100), convert=True)
    assert (found.format, found.notes) == ("HEIC", ())
    assert np.abs(found.pixels.astype(int) - SMOOTH).mean() < 4


def test_what_is_missing_for_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError, match=r"Install 'alexnet-pipeline\[heic\]'") as caught:
        examine(b"\0\0\0\x1cftypheic" + bytes(40), convert=True)
    assert reason(caught.value) == "HEIC without pillow-heif"


def raw():
    """A TIFF whose first image is a smaller copy, as cameras write it."""
    return saved(PICTURE, "TIFF", tiffinfo={254: 1})


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (raw(), "raw photograph"),
        (saved(PICTURE, "TIFF")[:300], "broken"),
        (saved(PICTURE, "AVIF")[:200], "broken"),
        (saved(PICTURE.astype("f4")[:, :, 0], "TIFF"), "more than 16 bit"),
        (b"P6 20000 20000 255\n" + bytes(100), "too large"),
        (b"P6 x 2 255\n", "broken"),
        (saved(np.zeros((1, 65_501), np.uint8), "TIFF"), "too large"),
        (saved(np.zeros((65_501, 1), np.uint8), "PNG"), "too large"),
    ],
)
def test_what_cannot_be_used_has_a_reason(data, expected):
    with pytest.raises(DataError) as caught:
        examine(data, convert=True)
    assert reason(caught.value) == expected


def test_only_preparation_takes_what_training_does_not_decode():
    with pytest.raises(DataError, match="not a JPEG, PNG"):
        examine(saved(PICTURE, "TIFF"))
