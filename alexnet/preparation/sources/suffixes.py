"""Which files count as images, by their names."""

DECODED = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp")
"""Suffixes of what training decodes."""

CONVERTED = (".tif", ".tiff", ".ppm", ".pgm", ".heic", ".heif", ".avif")
"""Of what preparation makes a JPEG of; see `alexnet/preparation/conversion.py`."""

NOT_DECODED = (
    ".jp2",
    ".jxl",
    ".psd",
    ".dng",
    ".cr2",
    ".cr3",
    ".nef",
    ".arw",
    ".orf",
    ".raf",
    ".rw2",
)
"""Of photographs that are rejected by name."""

SUFFIXES = DECODED + CONVERTED + NOT_DECODED
"""Files that count as images, in any case."""


def is_image(name: str) -> bool:
    """Whether a file counts as an image, by its name."""
    return name.lower().endswith(SUFFIXES)
