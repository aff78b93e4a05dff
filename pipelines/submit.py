"""Retrain as a job on a Ray cluster, once for each tick of a schedule.

A scheduler may call this as often as it likes for the same tick: every call waits for the one job,
prints what it prints, and ends as it has. RAY_API_SERVER_ADDRESS names the cluster; without it
pipelines/retrain.py runs on this machine.
"""

import argparse
import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from alexnet.errors import ConfigError
from alexnet.retraining import schedule
from pipelines import _command, retrain


def run(args: argparse.Namespace) -> int:
    """Submit or find the job, and wait for it; the exit status."""
    config, tick = _command.config(args), schedule.parse(args.tick, datetime.now(UTC))
    address = os.environ.get("RAY_API_SERVER_ADDRESS")
    passed = [f"--set={each}" for each in args.overrides]
    passed += ["--require-approval"] if args.require_approval else []
    if not address:
        return retrain.main([str(args.config), *passed])
    script = ["python", "pipelines/retrain.py", _within(args.config), *passed]
    # `exec`: Ray's shell would die of SIGTERM, and Ray wait in vain for what it leaves behind.
    entrypoint = f"exec {shlex.join(script)}"
    from pipelines.steps import job_log

    return job_log.run(address, config.registry.model_name, tick, entrypoint, _command.ROOT)


def _within(config: Path) -> str:
    """The configuration's path in the job, which brings this repository and nothing else."""
    try:
        return str(config.resolve().relative_to(_command.ROOT))
    except ValueError as error:
        raise ConfigError(
            f"{config}: not in {_command.ROOT}, which is what a job brings. Put it in "
            "pipelines/configs/."
        ) from error


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = _command.parser("submit", __doc__, retrain.EXIT_STATUSES)
    _command.add_run(parser)
    parser.add_argument(
        "--tick",
        default="",
        metavar="TIME",
        help="of the schedule, such as 2026-11-30T03:00Z (default: this minute)",
    )
    parser.add_argument(
        "--require-approval", action="store_true", help="promote only what a person has approved"
    )
    return _command.main(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
