"""Retrain by a schedule, and when there is new data, and show the history on a page; until Ctrl-C.

The schedule is `retrain.schedule` of the configuration. RAY_API_SERVER_ADDRESS names the cluster
that jobs are submitted to; without it they run on this machine.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from alexnet import config_file
from infra import programs
from infra.processes import Process, ServerError
from infra.programs import ROOT
from infra.schedules.server import schedule
from pipelines import _command

PORT = 3000
"""Dagster's own default."""


def _serve(args: argparse.Namespace) -> None:
    settings = config_file.load(args.config, args.overrides).retrain
    if not settings.schedule:
        raise ServerError(
            f"{args.config}: no retrain.schedule. Set it there, or by "
            "--set='retrain.schedule=\"0 3 * * 1\"', which is Mondays at 3."
        )
    arguments = [str(args.config.resolve()), *(f"--set={each}" for each in args.overrides)]
    folder = args.dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    print("starting Dagster ...", flush=True)
    with schedule(folder, os.environ, arguments, args.port) as started:
        where = os.environ.get("RAY_API_SERVER_ADDRESS", "this machine")
        print(f"page      {started.url}")
        print(f"schedule  {settings.schedule} {settings.timezone}, and when there is new data")
        print(f"runs on   {where}")
        print(f"\nCtrl-C stops it; the history stays in {folder}.", flush=True)
        _watch(started.page, started.daemon)


def _watch(*processes: Process) -> None:
    """Wait for a signal, or for one of them to end.

    Raises:
        ServerError: one has ended by itself.
    """
    while True:
        for each in processes:
            if each.process.poll() is not None:
                raise ServerError(f"{each.name}: has ended. Its log is {each.log}.")
        time.sleep(1)


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = programs.parser("schedules", __doc__, "0 stopped by a signal, 2 an error to act on")
    _command.add_run(parser)
    default = ROOT / "runs" / "schedule"
    parser.add_argument("--dir", type=Path, default=default, help="history (runs/schedule)")
    parser.add_argument("--port", type=int, default=PORT, help="of the page (%(default)s)")
    args = parser.parse_args(argv)
    return programs.exit_status("schedule", lambda: _serve(args), 0)


if __name__ == "__main__":
    sys.exit(main())
