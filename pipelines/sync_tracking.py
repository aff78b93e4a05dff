"""Deliver what MLflow has missed of a run: its metrics, and how it ended.

A run's next start does the same. This is for runs that have no next start.
"""

import argparse
import sys
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from alexnet.errors import ConfigError
from pipelines import _command


def run(args: argparse.Namespace) -> None:
    """Deliver, and print what was delivered."""
    from pipelines.steps import tracking_sync

    if args.timeout < 0:
        raise ConfigError(f"--timeout {args.timeout:g}: must be 0 or more seconds.")
    tracking_sync.run(args.run, args.timeout)


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = _command.parser("sync_tracking", __doc__, "0 delivered, 2 an error to act on")
    parser.add_argument("run", help="folder of the run, local or s3://bucket/prefix/NAME")
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="wait so long for an MLflow that does not answer (%(default)s)",
    )
    return _command.main(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
