"""Inspects one image file: decodes it once in full, and notes what is unusual about it."""

import re
import struct
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet import images
from alexnet.errors import DataError

Reason = Literal["empty", "not an image", "truncated", "broken", "too large", "incomplete"]


class Examined(NamedTuple):
    """An image that can be trained on."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    format: str
    """`JPEG`, `PNG`, `GIF`, `BMP` or `WebP`, from its first bytes."""
    notes: tuple[str, ...]
    """What the policies of `alexnet/images.py` did to it: `grey`, `CMYK`, `palette`,
    `alpha dropped`, `16 bit`, `EXIF orientation ignored`."""


def examine(data: bytes) -> Examined:
    """Decode an image file at full size.

    Raises:
        DataError: it cannot be used; `reason` says which kind of error that is.
    """
    pixels = images.decode(data)
    kind = next(name for start, name in _FORMATS if re.match(start, data, re.DOTALL))
    try:
        notes = {"JPEG": _jpeg_notes, "PNG": _png_notes, "WebP": _webp_notes}[kind](data)
    except KeyError:
        notes = ["palette"] if kind == "GIF" else []
    except (struct.error, IndexError):
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
    ("^an image of|^a file of", "too large"),
    ("^a sample without", "incomplete"),
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
    """From the segments before the first scan; ITU T.81, section B.1.1."""
    notes, at = [], 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            components = data[at + 9]
            notes += {1: ["grey"], 4: ["CMYK"]}.get(components, [])
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            turned = _exif_orientation(data[at + 10 : at + 2 + length]) not in (0, 1)
            notes += ["EXIF orientation ignored"] if turned else []
        at += 2 + length
    return notes


def _exif_orientation(tiff: bytes) -> int:
    """Tag 0x0112 of the first directory, 0 where it is not; TIFF 6.0, section 2."""
    order = ">" if tiff[:2] == b"MM" else "<"
    (directory,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, directory)
    for number in range(count):
        tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, directory + 2 + 12 * number)
        if tag == 0x0112:
            return int(value)
    return 0


def _png_notes(data: bytes) -> list[str]:
    """From the header and the chunks before the pixels; PNG specification, section 11.2.2."""
    depth, colour_type = data[24], data[25]
    notes = ["16 bit"] if depth == 16 else []
    notes += {0: ["grey"], 3: ["palette"], 4: ["grey"]}.get(colour_type, [])
    transparent = b"tRNS" in data[: data.find(b"IDAT")]
    return notes + (["alpha dropped"] if colour_type in (4, 6) or transparent else [])


def _webp_notes(data: bytes) -> list[str]:
    """From the flags of the extended header; RFC 9649, section 2.7."""
    return ["alpha dropped"] if data[12:16] == b"VP8X" and data[20] & 0x10 else []
