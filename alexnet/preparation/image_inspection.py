"""Inspects one image file: decodes it once in full, and notes what is unusual about it."""

import io
import re
import struct
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from alexnet import images
from alexnet.errors import DataError
from alexnet.preparation import conversion

Reason = Literal[
    "empty",
    "not an image",
    "truncated",
    "broken",
    "too large",
    "incomplete",
    "no class",
    "cannot be read",
    "HEIC without pillow-heif",
    "raw photograph",
    "more than 16 bit",
]


class Examined(NamedTuple):
    """An image that can be trained on."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    format: str
    """`JPEG`, `PNG`, `GIF`, `BMP` or `WebP`, or one of `conversion.py`, from its first bytes."""
    notes: tuple[str, ...]
    """What the policies of `alexnet/images.py` did to it: `grey`, `CMYK`, `palette`,
    `alpha dropped`, `16 bit`, `EXIF orientation ignored`."""


def examine(data: bytes, *, convert: bool = False) -> Examined:
    """Decode an image file at full size.

    Args:
        data: the file.
        convert: whether it may be one that training does not decode.

    Raises:
        DataError: it cannot be used; `reason` says which kind of error that is.
    """
    if convert and conversion.format_of(data):
        pixels, kind, notes = conversion.decode(data)
        return Examined(pixels, kind, tuple(notes))
    pixels = images.decode(data)
    kind = next(name for start, name in _FORMATS if re.match(start, data, re.DOTALL))
    try:
        notes_of = {"JPEG": _jpeg_notes, "PNG": _png_notes, "GIF": _gif_notes, "WebP": _webp_notes}
        notes = notes_of[kind](data) if kind in notes_of else []
    except (IndexError, OSError, SyntaxError, ValueError, struct.error):
        notes = []  # the pixels are there, whatever a damaged header says
    return Examined(pixels, kind, tuple(notes))


def reason(error: DataError) -> Reason:
    """The kind of an error of `examine`, to be counted by."""
    text = str(error)
    for pattern, kind in _REASONS:
        if re.search(pattern, text):
            return kind
    return "broken"


_REASONS: tuple[tuple[str, Reason], ...] = (
    ("^an empty file", "empty"),
    ("^not a JPEG, PNG", "not an image"),
    ("^an image with more than 16 bits", "more than 16 bit"),
    ("^an image of|^a file of", "too large"),
    ("^a sample without", "incomplete"),
    ("^in no folder of a class", "no class"),
    ("^a link|^a name|^a sparse", "cannot be read"),
    ("pillow-heif", "HEIC without pillow-heif"),
    ("^a raw photograph", "raw photograph"),
    ("[Pp]remature end|header ends", "truncated"),
)

_FORMATS = (
    (rb"\xff\xd8", "JPEG"),
    (rb"\x89PNG", "PNG"),
    (rb"GIF8", "GIF"),
    (rb"BM", "BMP"),
    (rb"RIFF....WEBP", "WebP"),
)


def _jpeg_notes(data: bytes) -> list[str]:
    """From the segments before the first scan, which is all that Pillow reads here."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        notes = {"L": ["grey"], "CMYK": ["CMYK"]}.get(image.mode, [])
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))
    # In [1, 8], as CIPA DC-008, section 4.6.5, numbers them; 1 is upright. Some cameras write 0.
    turned = exif.get(ExifTags.Base.Orientation, 1) not in (0, 1)
    return notes + (["EXIF orientation ignored"] if turned else [])


def _png_notes(data: bytes) -> list[str]:
    """From the header and the chunks before the pixels; PNG specification, section 11.2.2."""
    depth, colour_type = data[24], data[25]
    notes = [conversion.sixteen_bits(_sixteen_bits(data))] if depth == 16 else []
    notes += {0: ["grey"], 3: ["palette"], 4: ["grey"]}.get(colour_type, [])
    transparent = b"tRNS" in data[: data.find(b"IDAT")]
    return notes + (["alpha dropped"] if colour_type in (4, 6) or transparent else [])


def _sixteen_bits(data: bytes) -> NDArray[Any]:
    """Values of a PNG as they are stored, without those of transparency."""
    found: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    values: NDArray[Any] = np.atleast_3d(found)[:, :, :3]
    return values


def _gif_notes(data: bytes) -> list[str]:
    return ["palette"] + (["alpha dropped"] if images.gif_transparency(data) else [])


def _webp_notes(data: bytes) -> list[str]:
    """From the flags of the extended header; RFC 9649, section 2.7."""
    return ["alpha dropped"] if data[12:16] == b"VP8X" and data[20] & 0x10 else []
