"""Jobs of a Ray cluster, through the server that `ray job submit` talks to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from ray.job_submission import JobStatus, JobSubmissionClient

from alexnet.errors import ClusterError, first_line


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is now."""

    ended: bool
    exit_status: int | None
    """Of its program; None before its end, and if it never ran or the cluster lost it."""
    message: str
    """Of Ray."""


class Jobs:
    """Of one cluster; every method raises `ClusterError` if that does not answer."""

    def __init__(self, address: str) -> None:
        """Connect.

        Args:
            address: of the cluster's dashboard, `http://host:port`; a token comes from
                `RAY_AUTH_TOKEN`, as for every Ray command.

        Raises:
            ClusterError: it does not answer, or does not let this process in.
        """
        self._address = address
        self._client = self._asked(JobSubmissionClient, address)

    def find(self, name: str) -> Job | None:
        """The job with a submission id; None if there is none."""
        listed = self._asked(self._client.list_jobs)
        found = next((each for each in listed if each.submission_id == name), None)
        if not found:
            return None
        ended = JobStatus(found.status).is_terminal()
        return Job(ended, found.driver_exit_code if ended else None, found.message or "")

    def unfinished(self) -> list[str]:
        """Name and state of each job that has not ended."""
        return [
            f"{each.submission_id or each.job_id}, {str(each.status).lower()}"
            for each in self._asked(self._client.list_jobs)
            if not JobStatus(each.status).is_terminal()
        ]

    def submit(self, name: str, entrypoint: str, folder: Path, env: Mapping[str, str]) -> bool:
        """Submit a job; False if there is one of that name already.

        Args:
            name: the submission id.
            entrypoint: the shell command, run in a copy of the folder.
            folder: what the job brings to the cluster.
            env: variables, which anybody can see who can see the cluster's jobs.

        Raises:
            ClusterError: the cluster does not take it.
        """
        try:
            self._asked(
                self._client.submit_job,
                entrypoint=entrypoint,
                submission_id=name,
                runtime_env={"working_dir": str(folder), "env_vars": dict(env)},
            )
        except ClusterError:
            if self.find(name):  # another was faster
                return False
            raise
        return True

    def log(self, name: str) -> str:
        """All that a job has printed so far."""
        text: str = self._asked(self._client.get_job_logs, name)
        return text

    def stop(self, name: str) -> None:
        """Ask a job to end."""
        self._asked(self._client.stop_job, name)

    def _asked(self, question: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return question(*args, **kwargs)
        except (ConnectionError, RuntimeError, ValueError, requests.RequestException) as error:
            raise ClusterError(
                f"RAY_API_SERVER_ADDRESS = {self._address}: {first_line(error)}. Is the cluster "
                "there, and does RAY_AUTH_TOKEN have its token?"
            ) from error
