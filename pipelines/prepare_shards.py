"""Write images as WebDataset shards, local or in S3; an interrupted run goes on where it stopped.

Reads the archives of ILSVRC 2012, Kaggle's layout, and split/class/image in a folder or tar. Shards
that are there already are indexed where they lie: name their folder and no destination.
"""

import argparse
import sys
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pipelines import _command


def run(args: argparse.Namespace) -> None:
    """Write the data set, and print what is in it."""
    from pipelines.steps import preparation

    _command.check_max_rejects(args.max_rejects)
    preparation.run(args)


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = _command.parser("prepare_shards", __doc__, "0 written, 2 an error to act on")
    parser.add_argument("source", help="folder or tar of images, local or s3://bucket/prefix")
    parser.add_argument(
        "destination", nargs="?", help="empty folder, or s3://bucket/prefix; none to index shards"
    )
    options = {
        "--short-side": (int, None, "PX", "scale images down to this short side, e.g. 256"),
        "--samples-per-shard": (int, 1000, "N", "images of a shard (%(default)s)"),
        "--seed": (int, 0, "N", "of the order of the training images (%(default)s)"),
        "--val-share": (
            float,
            None,
            "X",
            "of a source without validation images (0.05, of fewer than 20,000 images up to 0.2)",
        ),
        "--max-rejects": (float, 0.01, "X", "share of images that may be unusable (%(default)s)"),
        "--classes": (Path, None, "FILE", "class names in label order, of shards to be indexed"),
    }
    for option, (kind, default, unit, text) in options.items():
        parser.add_argument(option, type=kind, default=default, metavar=unit, help=text)
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        choices=(
            *("empty-class", "other-files", "alike-classes", "split-name"),
            *("repeated-link", "archive"),
        ),
        help="a thing in the source that looks like a mistake and is none; repeatable",
    )
    parser.add_argument(
        "--add", action="store_true", help="to the data set that is there, as a new manifest"
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="remove what an unfinished preparation with other settings or images has made",
    )
    return _command.main(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
