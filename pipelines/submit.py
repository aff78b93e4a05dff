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

from alexnet.adapters.ray_jobs import Job, Jobs
from alexnet.errors import ClusterError, ConfigError
from alexnet.retraining import schedule
from alexnet.runs import code_version
from pipelines import _command, retrain
from pipelines.steps import job_log
from pipelines.steps.stop_request import StopRequest

STOP_WAIT_S = 600
"""For so long Ray waits for the last checkpoint of a job that is stopped, before it kills it."""

DECIDED = (0, 3, 4, 5)
"""Exit statuses of a retraining that another try would not change."""


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
    jobs, stop = Jobs(address), StopRequest(print)
    with stop.on_signals():
        name, job = _begun(jobs, config.registry.model_name, tick, entrypoint)
        if not job:
            job = job_log.follow(jobs, name, stop)
    return _status(name, job, stop)


def _begun(jobs: Jobs, model: str, tick: datetime, entrypoint: str) -> tuple[str, Job | None]:
    """Name of the tick's job, which runs now; and how it ended, if a try has decided already."""
    # A job brings no .git along.
    env = {"GIT_COMMIT": code_version.current(), "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}
    attempt = 1
    while True:
        name = schedule.job_name(model, tick, attempt)
        job = jobs.find(name)
        if not job:
            if jobs.submit(name, entrypoint, _command.ROOT, env):
                print(f"{name}: submitted", flush=True)
                return name, None
        elif not job.ended:
            print(f"{name}: was submitted before; waiting for its end", flush=True)
            return name, None
        elif job.exit_status in DECIDED:
            print(f"{name}: has ended with status {job.exit_status}", flush=True)
            return name, job
        else:
            attempt += 1


def _within(config: Path) -> str:
    """The configuration's path in the job, which brings this repository and nothing else."""
    try:
        return str(config.resolve().relative_to(_command.ROOT))
    except ValueError as error:
        raise ConfigError(
            f"{config}: not in {_command.ROOT}, which is what a job brings. Put it in "
            "pipelines/configs/."
        ) from error


def _status(name: str, job: Job, stop: StopRequest) -> int:
    if stop.signal:
        return 128 + stop.signal
    if job.exit_status is None:
        raise ClusterError(f"{name}: {job.message.rstrip('.')}. Its log is in Ray's dashboard.")
    return job.exit_status if job.exit_status >= 0 else 128 - job.exit_status


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = _command.parser("submit", __doc__)
    parser.add_argument(
        "--tick",
        default="",
        metavar="TIME",
        help="of the schedule, such as 2026-11-30T03:00Z (default: this minute)",
    )
    parser.add_argument(
        "--require-approval", action="store_true", help="promote only what a person has approved"
    )
    parser.epilog = retrain.EXIT_STATUSES
    args = parser.parse_args(argv)
    return _command.guarded("submit", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
