"""Write images as WebDataset shards, local or in S3; an interrupted run goes on where it stopped.

Reads the archives of ILSVRC 2012, Kaggle's layout, and split/class/image in a folder or tar. Shards
that are there already are indexed where they lie: name their folder and no destination.
"""

import argparse
import sys
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tqdm import tqdm

from alexnet.adapters import ray_cluster
from alexnet.adapters.object_store import open_store
from alexnet.adapters.ray_tasks import spread
from alexnet.errors import ConfigError
from alexnet.preparation import existing_shards, new_shards, sources
from alexnet.preparation import job as preparation
from alexnet.preparation.new_shards import Settings
from alexnet.preparation.sources import webdataset
from alexnet.storage.store import Store
from pipelines import _command


def run(args: argparse.Namespace) -> None:
    """Write the data set, and say what is in it."""
    _command.check_max_rejects(args.max_rejects)
    settings = Settings(
        seed=args.seed,
        samples_per_shard=args.samples_per_shard,
        short_side_px=args.short_side,
        val_share=args.val_share,
    )
    source, archive = locate(args.source)
    if archive and not args.destination:
        raise ConfigError(f"{args.source}: name a destination, or the folder of shards to index.")
    target = open_store(args.destination) if args.destination else source
    base = preparation.base_of(target, adding=args.add)
    target.check_writable()
    ray_cluster.connect()
    try:
        if args.destination:
            listing = sources.open_source(source, archive, spread)
            job = new_shards.job(target, source, listing, settings, base)
        else:
            classes = webdataset.read_class_map(args.classes) if args.classes else None
            job = existing_shards.job(target, settings.val_share, classes, spread, base)
        preparation.begin(target, job, base)
        with tqdm(total=job.num_images, unit="images", unit_scale=True, disable=None) as bar:
            for made in preparation.make_parts(target, job, spread):
                bar.update(made)
        published, report = preparation.finish(target, job, args.max_rejects, base)
    finally:
        ray_cluster.disconnect()
    counts = ", ".join(f"{published.num_samples(split)} {split}" for split in published.splits)
    print(f"{target.url}: {len(published.classes)} classes, {counts} images")
    print(f"manifest digest {published.digest}")
    print(f"report {target.url}/{report}")
    print(
        f"next: python pipelines/train.py CONFIG --set data.url={target.url} "
        f"--set model.num_classes={len(published.classes)}"
    )


def locate(source: str) -> tuple[Store, str]:
    """Store and archive of a source: a folder, or the folder around a tar and the tar's name."""
    folder, slash, name = source.rstrip("/").rpartition("/")
    is_file = "://" not in source and Path(source).expanduser().is_file()
    if is_file or name.endswith(".tar"):
        return open_store(folder or slash or "."), name
    return open_store(source), ""


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python pipelines/prepare_shards.py",
        description=__doc__,
        epilog="Exit status: 0 written, 2 an error to act on.",
    )
    parser.add_argument("source", help="folder or tar of images, local or s3://bucket/prefix")
    parser.add_argument(
        "destination", nargs="?", help="empty folder, or s3://bucket/prefix; none to index shards"
    )
    options = {
        "--short-side": (int, None, "PX", "scale images down to this short side, e.g. 256"),
        "--samples-per-shard": (int, 1000, "N", "images of a shard (%(default)s)"),
        "--seed": (int, 0, "N", "of the order of the training images (%(default)s)"),
        "--val-share": (float, 0.05, "X", "of a source without validation images (%(default)s)"),
        "--max-rejects": (float, 0.01, "X", "share of images that may be unusable (%(default)s)"),
        "--classes": (Path, None, "FILE", "class names in label order, of shards to be indexed"),
    }
    for option, (kind, default, unit, text) in options.items():
        parser.add_argument(option, type=kind, default=default, metavar=unit, help=text)
    parser.add_argument(
        "--add", action="store_true", help="to the data set that is there, as a new manifest"
    )
    args = parser.parse_args(argv)
    return _command.guarded("prepare_shards", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
