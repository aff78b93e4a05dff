"""Submits a scheduled tick's job once, and prints its log until it ends."""

import time
from datetime import datetime
from pathlib import Path

from alexnet.adapters.ray_jobs import Job, Jobs
from alexnet.errors import ClusterError
from alexnet.retraining import schedule
from alexnet.runs import code_version
from pipelines.steps.stop_request import StopRequest

POLL_S = 2.0

PATIENCE_S = 300.0
"""For so long a cluster that has answered before may be away."""


STOP_WAIT_S = 600
"""For so long Ray waits for the last checkpoint of a job that is stopped, before it kills it."""

DECIDED = (0, 3, 4, 5)
"""Exit statuses of a retraining that another try would not change."""


def run(address: str, model: str, tick: datetime, entrypoint: str, folder: Path) -> int:
    """Submit or find the tick's job, and print what it prints until its end; the exit status.

    The job brings `folder` along and runs `entrypoint` in it.

    Raises:
        ClusterError: the cluster is away for too long, or the job has no exit status.
    """
    jobs, stop = Jobs(address), StopRequest(print)
    with stop.on_signals():
        name, job = _begun(jobs, model, tick, entrypoint, folder)
        if not job:
            job = follow(jobs, name, stop)
    return _status(name, job, stop)


def _begun(
    jobs: Jobs, model: str, tick: datetime, entrypoint: str, folder: Path
) -> tuple[str, Job | None]:
    """Name of the tick's job, which runs now; and how it ended, if a try has decided already."""
    # A job brings no .git along.
    env = {"GIT_COMMIT": code_version.current(), "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}
    attempt = 1
    while True:
        name = schedule.job_name(model, tick, attempt)
        job = jobs.find(name)
        if not job:
            if jobs.submit(name, entrypoint, folder, env):
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


def follow(jobs: Jobs, name: str, stop: StopRequest) -> Job:
    """Print what a job prints, until it has ended; `stop` ends it.

    Raises:
        ClusterError: the cluster is away for too long, or does not know the job any more.
    """
    shown, answered = 0, time.monotonic()
    while True:
        try:
            job, text = _look(jobs, name, stop)
            print(text[shown:], end="", flush=True)
            shown, answered = len(text), time.monotonic()
            if job.ended:
                return job
        except ClusterError:
            if time.monotonic() - answered > PATIENCE_S:
                raise
        if stop.event.wait(POLL_S):
            time.sleep(POLL_S)


def _look(jobs: Jobs, name: str, stop: StopRequest) -> tuple[Job, str]:
    """The job as it is, and its whole log; one that is stopped already is not stopped again."""
    if stop.event.is_set():
        jobs.stop(name)
    job = jobs.find(name)
    if job is None:
        raise ClusterError(f"{name}: the cluster has begun anew, and knows the job no more.")
    return job, jobs.log(name)


def _status(name: str, job: Job, stop: StopRequest) -> int:
    if stop.signal:
        return 128 + stop.signal
    if job.exit_status is None:
        raise ClusterError(f"{name}: {job.message.rstrip('.')}. Its log is in Ray's dashboard.")
    return job.exit_status if job.exit_status >= 0 else 128 - job.exit_status
