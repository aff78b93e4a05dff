"""Read a data set again: compare every digest, look at every image, and write a report."""

import argparse
import sys
import tempfile
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tqdm import tqdm

from alexnet.adapters import ray_cluster
from alexnet.adapters.object_store import open_store
from alexnet.adapters.ray_tasks import spread
from alexnet.dataset import manifest
from alexnet.preparation import data_check
from pipelines import _command


def run(args: argparse.Namespace) -> None:
    """Check all shards, and say what was found."""
    _command.check_max_rejects(args.max_rejects)
    folder, name = manifest.locate(args.url)
    store = open_store(folder)
    known = manifest.read(store, name)
    reports = None if args.digests else open_store(args.report)
    if reports:
        reports.check_writable()
    total = sum(known.num_samples(split) for split in known.splits)
    shards = {part.number: part.shard for part in data_check.parts(known)}
    ray_cluster.connect()
    try:
        with tempfile.TemporaryDirectory(prefix="check-") as temporary:
            summary = data_check.Summary(Path(temporary))
            with tqdm(total=total, unit="images", unit_scale=True, disable=None) as bar:
                todo = data_check.parts(known)
                for checked in spread(data_check.ShardCheck(store, not args.digests), todo):
                    summary.add(checked)
                    bar.update(shards[checked.number].num_samples)
            if reports:
                page = summary.write(reports, store, known)
                print(f"report {reports.url}/{page}")
    finally:
        ray_cluster.disconnect()
    summary.raise_problems(args.max_rejects)
    print(f"{args.url}: {len(shards)} shards with {total} images are as they were written")


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python pipelines/check_data.py",
        description=__doc__,
        epilog="Exit status: 0 all is as it was written, 2 it is not, or an error to act on.",
    )
    parser.add_argument("url", help="folder, s3://bucket/prefix, or a manifest-*.json in one")
    parser.add_argument(
        "--digests", action="store_true", help="compare digests only: no decoding, no report"
    )
    parser.add_argument(
        "--report", default="reports", metavar="URL", help="folder for the report (%(default)s)"
    )
    parser.add_argument(
        "--max-rejects",
        type=float,
        default=0.01,
        metavar="X",
        help="share of images that may be unusable (%(default)s)",
    )
    args = parser.parse_args(argv)
    return _command.guarded("check_data", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
