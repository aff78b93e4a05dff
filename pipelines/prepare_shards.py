"""Write a folder or tar of images (split/class/image) as WebDataset shards, local or in S3."""

import argparse
import sys

from alexnet import image_folder, shards
from alexnet.adapters.object_store import open_store
from pipelines import command

SAMPLES_PER_SHARD = 1000
"""About 110 MB of original ImageNet files: large enough for fast reads, small enough to spread."""


def run(source: str, destination: str, short_side_px: int | None, samples_per_shard: int) -> None:
    """Write the data set, and say what is in it."""
    store = open_store(destination)
    shards.refuse_existing(store)
    store.check_writable()
    folder = image_folder.open_source(source)
    splits = {
        split: image_folder.samples(folder, split, short_side_px) for split in image_folder.SPLITS
    }
    name = destination.rstrip("/").rsplit("/", 1)[-1]
    manifest = shards.write_dataset(store, name, list(folder.classes), splits, samples_per_shard)
    counts = ", ".join(f"{manifest.num_samples(split)} {split}" for split in splits)
    print(f"{store.url}: {len(manifest.classes)} classes, {counts} images")
    print(f"manifest digest {manifest.digest}")
    print(
        f"next: python pipelines/train.py CONFIG --set data.url={store.url} "
        f"--set model.num_classes={len(manifest.classes)}"
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python pipelines/prepare_shards.py",
        description=__doc__,
        epilog="Exit status: 0 written, 2 an error to act on.",
    )
    parser.add_argument("source", help="folder or tar with train/CLASS/IMAGE and val/CLASS/IMAGE")
    parser.add_argument("destination", help="empty folder, or s3://bucket/prefix")
    parser.add_argument(
        "--short-side",
        type=int,
        metavar="PX",
        help="scale images down to this short side, e.g. 256",
    )
    parser.add_argument(
        "--samples-per-shard", type=int, default=SAMPLES_PER_SHARD, metavar="N", help="%(default)s"
    )
    args = parser.parse_args(argv)
    for option, value in (
        ("--short-side", args.short_side),
        ("--samples-per-shard", args.samples_per_shard),
    ):
        if value is not None and value < 1:
            parser.error(f"{option} {value}: must be 1 or more")
    return command.guarded(
        "prepare_shards",
        lambda: run(args.source, args.destination, args.short_side, args.samples_per_shard),
    )


if __name__ == "__main__":
    sys.exit(main())
