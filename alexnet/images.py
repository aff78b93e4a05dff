"""Encoded images to pixels and back. What happens to the pixels is in `alexnet/augment.py`.

Two policies hold everywhere. EXIF orientation is ignored, as ImageNet's usual loaders do: pixels
are taken as they are stored. Transparency is dropped, not blended.
"""

import re
import struct
from collections.abc import Callable

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from alexnet.errors import DataError

# A loader process owns one core: OpenCV's own threads would only fight with its neighbours'.
cv2.setNumThreads(0)

MAX_PIXELS = 178_956_970
"""Images with more are refused by their header: Pillow's limit, where it warns of a bomb."""

MAX_SIDE_PX = 65_500
"""Of an image: what libjpeg writes, so that whatever is decoded can become a JPEG."""

DCT_FACTORS = (8, 4, 2)
"""Reductions that libjpeg-turbo decodes fast. It knows every eighth, but only these have an inverse
DCT in SIMD; the ones between cost as much as a full decode."""

HARMLESS = re.compile(
    "extraneous bytes|bad ICC marker|unknown JFIF revision|subsampling level|^-1$"
)
"""What libjpeg-turbo says of JPEGs whose pixels are all there: stray bytes, an odd colour profile,
unusual colour subsampling (which has no words of its own in some versions). Pillow accepts them
too. Anything else, such as a premature end, means a broken file."""


def decode(data: bytes, min_side_px: int | None = None) -> NDArray[np.uint8]:
    """Pixels of a JPEG, PNG, GIF (first frame), BMP or WebP file.

    Args:
        data: the file; its format is read from its first bytes, not from any name.
        min_side_px: let a JPEG come out at 1/2, 1/4 or 1/8 of its size, the smallest whose short
            side still has this many pixels. None, or another format: full size.

    Returns:
        (H, W, 3) RGB, contiguous.

    Raises:
        DataError: the data is empty, no such image, broken, or larger than `MAX_PIXELS`.
    """
    height, width = size(data)
    return decode_reduced(data, height, width, reduction(min(height, width), min_side_px))


def decode_reduced(data: bytes, height: int, width: int, factor: int) -> NDArray[np.uint8]:
    """The same for an image of which `size` was asked; a JPEG at 1 / `factor` of it, rounded up.

    Raises:
        DataError: the image is broken.
    """
    if not data.startswith(b"\xff\xd8"):
        return _decode_any(data)
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "RGB", min_height=-(-height // factor), min_width=-(-width // factor)
        )
    except ValueError as error:
        if not HARMLESS.search(str(error)):
            raise DataError(f"a broken JPEG: {error}") from error
        # OpenCV does not stop at warnings, and knows rarer kinds of JPEG; it does not say either
        # that a file is cut, and fills what is missing with grey.
        if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
            raise DataError("a broken JPEG: premature end, no end of image") from error
        return _decode_any(data)
    return pixels


def size(data: bytes) -> tuple[int, int]:
    """Height and width in pixels, both 1 or more, from the header alone.

    Raises:
        DataError: no header of a known format, or too large, as `check_size` says.
    """
    if not data:
        raise DataError("an empty file: no image")
    parse = next((parse for start, parse in _HEADERS if re.match(start, data, re.DOTALL)), None)
    if parse is None:
        raise DataError(f"not a JPEG, PNG, GIF, BMP or WebP image: it begins with {data[:8]!r}")
    try:
        height, width = parse(data)
    except (struct.error, IndexError) as error:
        raise DataError(f"a broken image: its header ends after {len(data)} bytes") from error
    if height < 1 or width < 1:
        raise DataError(f"a broken image: its header says {width}x{height} pixels")
    check_size(height, width)
    return height, width


def check_size(height: int, width: int) -> None:
    """Refuse an image by its sides in pixels.

    Raises:
        DataError: it has more than `MAX_PIXELS`, or a side is longer than `MAX_SIDE_PX`.
    """
    if height * width > MAX_PIXELS or max(height, width) > MAX_SIDE_PX:
        raise DataError(
            f"an image of {width}x{height} pixels: must have at most {MAX_PIXELS} pixels, and "
            f"{MAX_SIDE_PX} a side"
        )


def reduction(short_side_px: int, min_side_px: int | None) -> int:
    """Factor by which `decode` shrinks a JPEG of this short side: 1, 2, 4 or 8."""
    if min_side_px is None:
        return 1
    fitting = (factor for factor in DCT_FACTORS if -(-short_side_px // factor) >= min_side_px)
    return next(fitting, 1)


def encode_jpeg(
    image: NDArray[np.uint8], quality: int = 95, *, colour_subsampling: str = "444"
) -> bytes:
    """JPEG file of an (H, W, 3) RGB image.

    Args:
        image: (H, W, 3).
        quality: libjpeg's, in [1, 100].
        colour_subsampling: `444` keeps colour at full resolution; `420` halves it both ways.
    """
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality, "RGB", colour_subsampling
    )
    return data


def resize_short_side(
    image: NDArray[np.uint8], short_side_px: int, *, enlarge: bool = False
) -> NDArray[np.uint8]:
    """Scale to a short side by averaging areas, keeping the aspect.

    Args:
        image: (H, W, 3).
        short_side_px: of the result.
        enlarge: also scale smaller images up; else they are returned as they are.
    """
    height, width = image.shape[:2]
    short = min(height, width)
    if short == short_side_px or (short < short_side_px and not enlarge):
        return image
    sides = (round(width * short_side_px / short), round(height * short_side_px / short))
    how = cv2.INTER_AREA if short > short_side_px else cv2.INTER_CUBIC
    resized: NDArray[np.uint8] = cv2.resize(image, sides, interpolation=how)
    return resized


def _decode_any(data: bytes) -> NDArray[np.uint8]:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    at = gif_transparency(data)
    if at:  # OpenCV would put the background's colour in place of the transparent one
        data = data[:at] + bytes([data[at] & ~1]) + data[at + 1 :]
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DataError(f"a broken image: {error.err}") from error
    if pixels is None:
        raise DataError(f"a broken image: its {len(data)} bytes cannot be decoded")
    converted: NDArray[np.uint8] = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    return converted


def _jpeg_size(data: bytes) -> tuple[int, int]:
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return _jpeg_frame_size(data)  # unusual colour subsampling, which OpenCV may know
    return height, width


def _jpeg_frame_size(data: bytes) -> tuple[int, int]:
    """Size in the first start-of-frame segment; ITU T.81, sections B.1.1.4 and B.2.2."""
    at = 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            raise DataError("a broken JPEG: no start of frame")
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return struct.unpack_from(">HH", data, at + 5)
        alone = marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9
        at += 1 if alone else 2 + struct.unpack_from(">H", data, at + 2)[0]


def _png_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def _gif_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return height, width


def _bmp_size(data: bytes) -> tuple[int, int]:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_bytes == 12 else "<ii", data, 18)
    return abs(height), width  # a negative height: rows from top to bottom


def gif_transparency(data: bytes) -> int:
    """Where the flags of a GIF's first image lie, if they say that a colour is transparent; else 0.

    GIF89a, sections 18 to 23: a table of colours, then blocks, each in pieces with their lengths.
    """
    if not data.startswith(b"GIF8") or len(data) < 13:
        return 0
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while data[at : at + 1] == b"!":
        if data[at + 1 : at + 3] == b"\xf9\x04" and data[at + 3 : at + 4] > b"":
            return at + 3 if data[at + 3] & 1 else 0
        at += 2
        while data[at : at + 1] > b"\0":
            at += 1 + data[at]
        at += 1
    return 0


def _webp_size(data: bytes) -> tuple[int, int]:
    """Size in the first chunk; RFC 9649, sections 2.5 to 2.7, and RFC 6386, section 9.1."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        low, high, low2, high2 = struct.unpack_from("<HBHB", data, 24)
        return 1 + low2 + (high2 << 16), 1 + low + (high << 16)
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return height & 0x3FFF, width & 0x3FFF


_HEADERS: tuple[tuple[bytes, Callable[[bytes], tuple[int, int]]], ...] = (
    (rb"\xff\xd8", _jpeg_size),
    (rb"\x89PNG\r\n\x1a\n", _png_size),
    (rb"GIF8[79]a", _gif_size),
    (rb"BM", _bmp_size),
    (rb"RIFF....WEBP", _webp_size),
)
"""How each format begins, and where its size is."""
