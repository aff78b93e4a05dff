"""Images per second, on one core, from JPEG to a random training view: ours and torchvision's."""

import argparse
import io
import statistics
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import v2 as tv

from alexnet import augment, seeds
from alexnet.config import AugmentConfig

SIZE_PX = 224
AXES = np.diag([0.2, 0.02, 0.005])


def read_jpegs(tar_path: Path, count: int) -> list[bytes]:
    """The first JPEGs of a tar."""
    found: list[bytes] = []
    with tarfile.open(tar_path) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.name.lower().endswith(".jpeg") else None
            if file:
                found.append(file.read())
            if len(found) == count:
                break
    return found


def changes(settings: AugmentConfig) -> list[torch.nn.Module]:
    """Torchvision's transforms for these settings; it has no PCA lighting."""
    chain: list[torch.nn.Module] = [
        tv.RandomResizedCrop(SIZE_PX, settings.crop_area, settings.crop_aspect),
        tv.RandomHorizontalFlip(settings.flip),
    ]
    if settings.rotation_degrees:
        chain += [
            tv.RandomRotation(settings.rotation_degrees, InterpolationMode.BILINEAR),
            tv.ColorJitter(
                settings.brightness, settings.contrast, settings.saturation, settings.hue
            ),
        ]
    return chain


def ways(settings: AugmentConfig) -> dict[str, Callable[[bytes, int], object]]:
    """Name -> a function of a JPEG and a number to draw from."""
    on_tensors = tv.Compose(changes(settings))
    on_pil = tv.Compose([*changes(settings), tv.PILToTensor()])
    axes = AXES if settings.lighting else None
    return {
        "ours": lambda data, number: augment.augment(
            data, SIZE_PX, settings, axes, seeds.generator(0, number)
        ),
        "torchvision v2, tensors": lambda data, _: on_tensors(
            decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
        ),
        "torchvision, PIL": lambda data, _: on_pil(Image.open(io.BytesIO(data)).convert("RGB")),
    }


def measure(
    jpegs: list[bytes], settings: AugmentConfig, repeats: int
) -> dict[str, tuple[float, float, float]]:
    """Way -> median, least and most images/s. Repeats take turns, so that noise is shared."""
    rates: dict[str, list[float]] = {name: [] for name in ways(settings)}
    for _ in range(repeats):
        for name, make in ways(settings).items():
            make(jpegs[0], 0)  # first-call costs are not counted
            start = time.perf_counter()
            for number, data in enumerate(jpegs):
                make(data, number)
            rates[name].append(len(jpegs) / (time.perf_counter() - start))
    return {name: (statistics.median(r), min(r), max(r)) for name, r in rates.items()}


def main(argv: list[str] | None = None) -> int:
    """Print a markdown table."""
    parser = argparse.ArgumentParser(prog="python tests/benchmarks/augment.py", description=__doc__)
    parser.add_argument("tar", type=Path, help="an uncompressed tar with JPEGs in it")
    parser.add_argument("--images", type=int, default=500, help="how many of them (500)")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of each way (5)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    jpegs = read_jpegs(args.tar, args.images)
    plain = AugmentConfig(
        rotation_degrees=0, brightness=0, contrast=0, saturation=0, hue=0, lighting=0
    )
    cases = {"crop, flip": plain, "crop, flip, rotation, colours": AugmentConfig()}
    print(f"{len(jpegs)} JPEGs, one core, {args.repeats} repeats in turn; images/s\n")
    print("| changes | way | median | least | most | ours is faster |")
    print("|---|---|---:|---:|---:|---:|")
    for case, settings in cases.items():
        rates = measure(jpegs, settings, args.repeats)
        for name, (median, least, most) in rates.items():
            faster = rates["ours"][0] / median
            print(f"| {case} | {name} | {median:.0f} | {least:.0f} | {most:.0f} | {faster:.1f} x |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
