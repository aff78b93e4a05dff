"""Search for better settings: trainings with other values, the worse of which are ended early.

The same command goes on with a search that was interrupted. What came out best is written as a
configuration for pipelines/train.py; nothing is registered.
"""

import argparse
import sys
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pipelines import _command

EMBEDDED = Path(__file__).parent / "spaces" / "digits.toml"
"""The search of a command without `--space`."""


def run(args: argparse.Namespace) -> int:
    """Search until each trial has ended; the exit status."""
    from pipelines.steps import search_session

    return search_session.run(_command.config(args), args.space, args.out, dry_run=args.dry_run)


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = _command.parser(
        "tune", __doc__, "0 the best is written, 2 an error to act on, 130 or 143 stopped"
    )
    _command.add_run(parser)
    parser.add_argument(
        "--space",
        type=Path,
        default=EMBEDDED,
        metavar="FILE",
        help="TOML file of the search: which keys vary, how many trials (default: the digits')",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the best configuration here, too"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the trials, and train nothing")
    return _command.main(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
