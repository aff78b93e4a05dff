"""Images to a published data set, spread over the cluster."""

import argparse
from pathlib import Path

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


def run(args: argparse.Namespace) -> None:
    """Write the data set, and say what is in it."""
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
    with ray_cluster.connected():
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
