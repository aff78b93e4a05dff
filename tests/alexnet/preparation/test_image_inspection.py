"""What is unusual about an image is noted; the 275 odd images end as they should."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from alexnet import images
from alexnet.errors import DataError
from alexnet.preparation.image_inspection import examine, reason

ROOT = Path(__file__).parents[3]
ODD_IMAGES = ROOT.parent / "shared" / "data" / "odd-images.tar.gz"
GOLDEN = ROOT / "tests" / "golden" / "odd-images.json"
PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.mark.parametrize(
    ("data", "kind", "notes"),
    [
        (images.encode_jpeg(PICTURE), "JPEG", ()),
        (cv2.imencode(".jpg", PICTURE[:, :, 0])[1].tobytes(), "JPEG", ("grey",)),
        (png(PICTURE), "PNG", ()),
        (png(PICTURE[:, :, 0]), "PNG", ("grey",)),
        (png(PICTURE.astype(np.uint16) * 257), "PNG", ("16 bit",)),
        (
            png(PICTURE.astype(np.uint16) << 4),
            "PNG",
            ("16 bit, of which 12 are used (0 to 4095)",),
        ),
        (png(np.dstack([PICTURE, PICTURE[:, :, 0]])), "PNG", ("alpha dropped",)),
        (cv2.imencode(".bmp", PICTURE)[1].tobytes(), "BMP", ()),
        (cv2.imencode(".webp", PICTURE)[1].tobytes(), "WebP", ()),
        (cv2.imencode(".gif", PICTURE)[1].tobytes(), "GIF", ("palette",)),
    ],
)
def test_format_and_notes_are_told(data, kind, notes):
    found = examine(data)
    assert (found.format, found.notes) == (kind, notes)
    assert found.pixels.shape == (20, 30, 3)


@pytest.mark.parametrize("transparent", [0, 3])
def test_a_gifs_transparent_colour_is_as_it_is_stored_and_noted(transparent):
    generator = np.random.default_rng(0)
    indices = generator.integers(0, 8, (20, 30), dtype=np.uint8)
    palette = generator.integers(0, 256, (256, 3), dtype=np.uint8)
    picture, file = Image.fromarray(indices, "P"), io.BytesIO()
    picture.putpalette(palette.tobytes())
    picture.save(file, "GIF", optimize=False, transparency=transparent, comment=b"!" * 300)
    found = examine(file.getvalue())
    assert found.notes == ("palette", "alpha dropped")
    assert np.array_equal(found.pixels, palette[indices])


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_orientation_is_told_and_ignored(order):
    import struct

    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    tiff += struct.pack(order + "HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
    segment = b"Exif\0\0" + tiff
    jpeg = images.encode_jpeg(PICTURE)
    turned = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(segment)) + segment + jpeg[2:]
    assert examine(turned).notes == ("EXIF orientation ignored",)
    assert np.array_equal(examine(turned).pixels, examine(jpeg).pixels)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"<html>not found</html>", "not an image"),
        (images.encode_jpeg(PICTURE)[:-40], "truncated"),
        (png(PICTURE)[:60], "broken"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\1\0\0" * 2 + bytes(9), "too large"),
    ],
)
def test_errors_have_a_kind(data, expected):
    with pytest.raises(DataError) as caught:
        examine(data)
    assert reason(caught.value) == expected


EXAMINE_ALL = """
import json, sys
from pathlib import Path
from alexnet.augment import evaluate_view
from alexnet.errors import DataError
from alexnet.preparation.image_inspection import examine, reason
results, root = {}, Path(sys.argv[1])
for path in sorted(path for path in root.rglob("*") if path.is_file()):
    try:
        found = examine(path.read_bytes())
        assert evaluate_view(path.read_bytes(), 64).shape == (64, 64, 3)
        result = ", ".join([found.format, *found.notes])
    except DataError as error:
        result = f"rejected: {reason(error)}"
    results[path.relative_to(root).as_posix()] = result
print(json.dumps(results, indent=1))
"""


def examine_all(folder):
    """Name -> verdict, from a process of its own that may crash."""
    with tarfile.open(ODD_IMAGES) as tar:
        tar.extractall(folder, filter="data")
    root = folder / "odd-images"
    for name in ("README.txt", "PROBE.jsonl"):
        (root / name).unlink()
    done = subprocess.run(
        [sys.executable, "-c", EXAMINE_ALL, root],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.photos
def test_all_odd_images_end_as_the_table_says(tmp_path):
    """The table is written by `python -m tests.alexnet.test_examine`."""
    if not ODD_IMAGES.exists():
        pytest.skip(f"{ODD_IMAGES} is not here")
    results = examine_all(tmp_path)
    assert len(results) == 275
    assert results == json.loads(GOLDEN.read_text())


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(examine_all(Path(place)), indent=1) + "\n")
