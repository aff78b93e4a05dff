"""Read a data set again: compare every digest, look at every image, and write a report."""

import argparse
import sys
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pipelines import _command


def run(args: argparse.Namespace) -> None:
    """Check all shards, and print what was found."""
    from pipelines.steps import data_check

    _command.check_max_rejects(args.max_rejects)
    data_check.run(args.url, digests=args.digests, report=args.report, max_rejects=args.max_rejects)


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = _command.parser(
        "check_data", __doc__, "0 all is as it was written, 2 it is not, or an error to act on"
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
    return _command.main(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
