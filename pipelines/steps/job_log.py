"""Waiting for a job of a Ray cluster, with what it prints."""

import time

from alexnet.adapters.ray_jobs import Job, Jobs
from alexnet.errors import ClusterError
from pipelines.steps.stop_request import StopRequest

POLL_S = 2.0

PATIENCE_S = 300.0
"""For so long a cluster that has answered before may be away."""


def follow(jobs: Jobs, name: str, stop: StopRequest) -> Job:
    """Print what a job prints, until it has ended.

    Args:
        jobs: of the cluster.
        name: the submission id.
        stop: ends the job.

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
