"""Write images as WebDataset shards, local or in S3; an interrupted run goes on where it stopped.

Reads the archives of ILSVRC 2012, Kaggle's layout, and split/class/image in a folder or tar.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from alexnet import preparation, shards, sources
from alexnet.adapters import ray_runner
from alexnet.adapters.object_store import open_store
from alexnet.adapters.ray_tasks import spread
from alexnet.errors import ConfigError
from alexnet.prepare import Settings
from alexnet.store import Store
from pipelines import command


def run(source: str, destination: str, settings: Settings, max_rejects: float) -> None:
    """Write the data set, and say what is in it."""
    store, archive = locate(source)
    target = open_store(destination)
    shards.refuse_existing(target)
    target.check_writable()
    ray_runner.connect()
    try:
        listing = sources.open_source(store, archive, spread)
        work = preparation.begin(target, listing, settings)
        with tqdm(total=len(listing), unit="images", unit_scale=True, disable=None) as bar:
            for made in preparation.make_parts(target, store, listing, settings, work, spread):
                bar.update(made)
        manifest, report = preparation.finish(target, listing, settings, work, max_rejects)
    finally:
        ray_runner.disconnect()
    counts = ", ".join(f"{manifest.num_samples(split)} {split}" for split in manifest.splits)
    print(f"{target.url}: {len(manifest.classes)} classes, {counts} images")
    print(f"manifest digest {manifest.digest}")
    print(f"report {target.url}/{report}")
    print(
        f"next: python pipelines/train.py CONFIG --set data.url={target.url} "
        f"--set model.num_classes={len(manifest.classes)}"
    )


def locate(source: str) -> tuple[Store, str]:
    """Store and archive of a source: a folder, or the folder around a tar and the tar's name."""
    folder, slash, name = source.rstrip("/").rpartition("/")
    is_file = "://" not in source and Path(source).expanduser().is_file()
    if is_file or name.endswith(".tar"):
        return open_store(folder or slash or "."), name
    return open_store(source), ""


def chosen(args: argparse.Namespace) -> Settings:
    """The settings that arguments ask for.

    Raises:
        ConfigError: a value breaks its rule.
    """
    for option, value, ok, rule in (
        ("--short-side", args.short_side, args.short_side is None or args.short_side >= 1, "1"),
        ("--samples-per-shard", args.samples_per_shard, args.samples_per_shard >= 1, "1"),
        ("--seed", args.seed, args.seed >= 0, "0"),
    ):
        if not ok:
            raise ConfigError(f"{option} {value}: must be {rule} or more.")
    for option, share in (("--val-share", args.val_share), ("--max-rejects", args.max_rejects)):
        if not 0 <= share < 1:
            raise ConfigError(f"{option} {share}: must be in [0, 1).")
    return Settings(
        name=args.destination.rstrip("/").rsplit("/", 1)[-1],
        seed=args.seed,
        samples_per_shard=args.samples_per_shard,
        short_side_px=args.short_side,
        val_share=args.val_share,
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python pipelines/prepare_shards.py",
        description=__doc__,
        epilog="Exit status: 0 written, 2 an error to act on.",
    )
    parser.add_argument("source", help="folder or tar of images, local or s3://bucket/prefix")
    parser.add_argument("destination", help="empty folder, or s3://bucket/prefix")
    options = {
        "--short-side": (int, None, "PX", "scale images down to this short side, e.g. 256"),
        "--samples-per-shard": (int, 1000, "N", "%(default)s"),
        "--seed": (int, 0, "N", "of the order of the training images (%(default)s)"),
        "--val-share": (float, 0.05, "X", "of a source without validation images (%(default)s)"),
        "--max-rejects": (float, 0.01, "X", "share of images that may be unusable (%(default)s)"),
    }
    for option, (kind, default, unit, text) in options.items():
        parser.add_argument(option, type=kind, default=default, metavar=unit, help=text)
    args = parser.parse_args(argv)
    return command.guarded(
        "prepare_shards",
        lambda: run(args.source, args.destination, chosen(args), args.max_rejects),
    )


if __name__ == "__main__":
    sys.exit(main())
