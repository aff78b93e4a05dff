"""Show on one screen who is champion, what was retrained and decided, and what is at work."""

import argparse
import sys
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pipelines import _command


def run(args: argparse.Namespace) -> None:
    """Look at the registry and the storage, and print what is there."""
    from pipelines.steps import status_screen

    print(status_screen.text(_command.config(args)))


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = _command.parser("status", __doc__, "0 shown, 2 an error to act on")
    _command.add_run(parser)
    return _command.main(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
