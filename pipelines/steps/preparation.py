"""Images to a published data set, spread over the cluster."""

import argparse
import shlex
from pathlib import Path

from tqdm import tqdm

from alexnet.adapters import ray_cluster
from alexnet.adapters.object_store import open_store
from alexnet.adapters.ray_tasks import spread
from alexnet.dataset.sample_size import sufficiency
from alexnet.errors import ConfigError, StoreError
from alexnet.preparation import existing_shards, new_shards, sources
from alexnet.preparation import job as preparation
from alexnet.preparation.new_shards import Settings
from alexnet.preparation.sources import class_map
from alexnet.preparation.sources.archives import is_archive
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
    _check_writable(target, in_place=not args.destination)
    classes = class_map.read_class_map(args.classes) if args.classes else None
    with ray_cluster.connected():
        if args.destination:
            listing = sources.open_source(source, archive, spread, classes)
            job = new_shards.job(target, source, listing, settings, base)
        else:
            job = existing_shards.job(target, args.val_share, classes, spread, base)
        preparation.check_suspicions(job, args.accept)
        preparation.check_rejects(job, args.max_rejects)
        preparation.begin(target, job, base, fresh=args.fresh)
        with tqdm(total=job.num_images, unit="images", unit_scale=True, disable=None) as bar:
            for made in preparation.make_parts(target, job, spread):
                bar.update(made)
        published, report, account = preparation.finish(target, job, args.max_rejects, base)
    counts = ", ".join(f"{published.num_samples(split)} {split}" for split in published.splits)
    print(f"{target.url}: {len(published.classes)} classes, {counts} images")
    print(account)
    print(sufficiency(published.num_samples("val")))
    print(f"manifest digest {published.digest}")
    print(f"report {target.url}/{report}")
    print(
        f"next: python pipelines/train.py CONFIG --set {shlex.quote(f'data.url={target.url}')} "
        f"--set model.num_classes={len(published.classes)}"
    )


def _check_writable(target: Store, *, in_place: bool) -> None:
    try:
        target.check_writable()
    except StoreError as error:
        if not in_place:
            raise
        raise StoreError(
            f"{error} Indexes are written beside the shards: allow that, or name a destination, "
            "where the images are then written anew."
        ) from error


def locate(source: str) -> tuple[Store, str]:
    """Store and archive of a source: a folder, or the folder around a tar and the tar's name."""
    folder, slash, name = source.rstrip("/").rpartition("/")
    path = Path(source).expanduser()
    if path.is_file() or (is_archive(name) and not path.is_dir()):
        return open_store(folder or slash or "."), name
    return open_store(source), ""
