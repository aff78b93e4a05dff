"""Images that training does not decode, so that preparation makes a JPEG of them.

TIFF, PGM and PPM, and what phones write: HEIC and AVIF. Pillow decodes them; HEIC needs its plugin
pillow-heif, which `pip install 'alexnet-pipeline[heic]'` adds. The policies are those of
`alexnet/images.py`. A HEIC's own rotation (`irot`, ISO/IEC 23008-12, section 6.5.10) is no EXIF and
is applied.
"""

import io
import re
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from alexnet import images
from alexnet.errors import DataError

_STARTS = (
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (rb"P[2356]\s", "PPM"),
    (rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", "HEIF"),
    (rb"....ftypavi[fs]", "AVIF"),
)
"""How each format begins, and what Pillow calls it."""

_NAMES = {"HEIF": "HEIC"}
"""What people call it."""

_DNG_VERSION = 50706
"""Tag of a raw photograph; Digital Negative Specification 1.7, chapter 4."""

_NEW_SUBFILE_TYPE, _REDUCED = 254, 1
"""Tag and bit of a smaller copy of another image of the file, which is what the first one of a raw
photograph is; TIFF 6.0, page 36."""


def format_of(data: bytes) -> str:
    """Format of an image that is to be converted, by its first bytes; empty for any other."""
    return next((name for start, name in _STARTS if re.match(start, data, re.DOTALL)), "")


def decode(data: bytes) -> tuple[NDArray[np.uint8], str, list[str]]:
    """Pixels of an image that `format_of` knows, of the first if there are several in the file.

    Returns:
        (H, W, 3) RGB; the format as people call it; what the policies did to it.

    Raises:
        DataError: it is broken, too large, a raw photograph, or of a kind that is not decoded.
    """
    kind = format_of(data)
    if kind == "HEIF" and not _has_heif():
        raise DataError(
            "a HEIC image, and pillow-heif, which decodes it, is not installed. Install "
            "'alexnet-pipeline[heic]'."
        )
    name = _NAMES.get(kind, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, and of sizes, which are judged here
        try:
            with Image.open(io.BytesIO(data), formats=[kind]) as image:
                _check(image, data)
                pixels, notes = _pixels(image)
        except Image.DecompressionBombError as error:
            raise DataError(f"an image of too many pixels: {error}") from error
        except UnidentifiedImageError as error:
            raise DataError(f"a broken {name}: only its first bytes are those of one") from error
        except (OSError, SyntaxError, ValueError, EOFError, RuntimeError, TypeError) as error:
            raise DataError(f"a broken {name}: {str(error) or type(error).__name__}") from error
    return pixels, name, notes


def _has_heif() -> bool:
    """Whether HEIC can be decoded; it can from now on."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _check(image: Image.Image, data: bytes) -> None:
    images.check_size(image.height, image.width)
    tags: Any = getattr(image, "tag_v2", {})
    if data[8:10] == b"CR" or _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED:
        raise DataError("a raw photograph: its first image is a thumbnail. Develop it.")
    if image.mode in ("F", "I") and image.format == "TIFF":
        raise DataError("an image with more than 16 bits a channel: must have 8 or 16")


def _pixels(image: Image.Image) -> tuple[NDArray[np.uint8], list[str]]:
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append("first of several images")
    if image.mode == "I" or image.mode.startswith("I;16"):
        notes.append(sixteen_bits(np.asarray(image)))
    notes += {"L": ["grey"], "1": ["grey"], "LA": ["grey"], "P": ["palette"], "CMYK": ["CMYK"]}.get(
        image.mode, ["grey"] if image.mode.startswith("I") else []
    )
    if image.mode in ("LA", "PA", "RGBA", "RGBX") or "transparency" in image.info:
        notes.append("alpha dropped")
    if image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1):
        notes.append("EXIF orientation ignored")
    if image.mode.startswith("I"):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2)), notes
    return np.array(image.convert("RGB")), notes


def sixteen_bits(values: NDArray[Any]) -> str:
    """The note of an image with 16 bits a channel, of which the upper 8 are taken.

    A camera's 12 bits at the lower end come out nearly black, so what is not used is told.
    """
    used = int(values.max(initial=0)).bit_length()
    return "16 bit" if used > 15 else f"16 bit, of which {used} are used (0 to {2**used - 1})"
