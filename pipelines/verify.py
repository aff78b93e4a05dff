"""Check that a version of the registered model is what was registered, and its data still there."""

import argparse
import sys
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pipelines import _command


def run(args: argparse.Namespace) -> int:
    """Check, and print what does not hold any more; the exit status."""
    from pipelines.steps import verification

    model_name = _command.config(args).registry.model_name
    return verification.run(model_name, args.version, full=args.full)


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = _command.parser(
        "verify", __doc__, "0 all of it holds, 2 an error to act on, 3 something does not hold"
    )
    parser.add_argument("version", help="number or alias of the version")
    _command.add_config_options(parser)
    parser.add_argument(
        "--full", action="store_true", help="read every shard and compare its SHA-256"
    )
    return _command.main(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
