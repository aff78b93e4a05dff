"""The record of a run, and whether a command resumes a run or starts a new one.

Each run has a folder in the storage, and in it `run.json`. The folder's name is made of the run's
own name, of all that decides its weights, and of a number; so the same command finds the run that
it began and did not finish.
"""

import dataclasses
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from alexnet import clock, config_file
from alexnet.config import RunConfig
from alexnet.dataset.manifest import Manifest
from alexnet.errors import CheckpointError, ConfigError, LeaseError
from alexnet.runs import checkpoint
from alexnet.storage import documents
from alexnet.storage.documents import Reader
from alexnet.storage.store import Store
from alexnet.telemetry.cost import NOTHING, Spending, Usage

NAME = "run.json"

SCHEMA = 1
"""Raise by one when a field is added, removed or changes meaning."""

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
"""In the words of MLflow. RUNNING without a process at work on it: that was killed."""


class LostWork(NamedTuple):
    """What a failure has cost."""

    reason: str
    resumed_at: int
    """Step of the checkpoint that training continued from."""
    steps_redone: int
    """Steps that had been done and were done again."""
    seconds: float
    """Of training that was lost, and until it continued; without pauses between commands."""
    cost: float = 0.0
    """Of the workers in that time, by the prices then."""

    def __str__(self) -> str:
        return (
            f"{self.reason}: resumed at step {self.resumed_at}, {self.steps_redone} steps to do "
            f"again, {self.seconds:.1f} s lost"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """What is written down of a run."""

    schema: int = SCHEMA
    key: str
    """Random; MLflow's run is found by it."""
    name: str
    """Also of the folder."""
    status: Status = "RUNNING"
    identity: Mapping[str, Any]
    """`RunConfig.identity()`."""
    manifest_digest: str
    data_name: str
    """Of the data set."""
    data_url: str
    """Its folder, when the run began."""
    config: str
    """The whole configuration as TOML, when the run began."""
    git_commit: str
    nested_in: str = ""
    """MLflow's id of the run that this one is a part of, a search; empty: it is none."""
    lost: tuple[LostWork, ...] = ()
    usage: Usage = NOTHING
    """Over all commands, when one ended it last; it costs something where there are prices."""
    cost: float = 0.0
    """Of that, by the prices then."""
    currency: str = ""
    """Of the costs; empty where there are no prices."""
    reached: int = 0
    """Step at which a command ended it last."""
    ended_ms: int | None = None
    """When that was, in milliseconds since 1970; None before the first end."""
    ended_why: str = ""
    """The error; empty if it was finished, or stopped by a signal."""

    def ended(self, status: Status, why: str, reached: int, spending: Spending) -> "RunRecord":
        """The same, as a command leaves it now."""
        return dataclasses.replace(
            self,
            status=status,
            ended_why=why,
            ended_ms=clock.now_ms(),
            reached=reached,
            usage=spending.used,
            cost=spending.cost.total,
            currency=spending.currency,
        )

    def write(self, store: Store) -> None:
        """Put it in the run's folder.

        Raises:
            StoreError: it cannot be written.
        """
        documents.write(store, NAME, self)


def read(store: Store) -> RunRecord:
    """The record in a run's folder.

    Raises:
        CheckpointError: it is damaged, or of another release.
        StoreError: there is none, or the store cannot be reached.
    """
    return READER.read(store, NAME)


READER = Reader(RunRecord, CheckpointError, "Restore it, or start anew with --fresh.")


def find(
    config: RunConfig,
    manifest: Manifest,
    data_url: str,
    git_commit: str,
    folder: Callable[[str], Store],
    *,
    fresh: bool = False,
) -> tuple[RunRecord, bool]:
    """The run to resume, or a new one, which is not written yet.

    Returns:
        The run, and whether it is one that was started before.

    Raises:
        CheckpointError: `run.name` is the name of another run.
        ConfigError: `run.name` is the name of a run that is finished, or may not be resumed.
        StoreError: the storage cannot be reached.
    """
    new = RunRecord(
        key=secrets.token_hex(16),
        name=config.run.name,
        identity=config.identity(),
        manifest_digest=manifest.digest,
        data_name=manifest.name,
        data_url=data_url,
        config=config_file.to_toml(config),
        git_commit=git_commit,
    )
    if config.run.name:
        return _pinned(new, folder(config.run.name), fresh=fresh)
    number = 1
    while folder(_numbered(config.name, new, number)).exists(NAME):
        number += 1
    if number > 1 and not fresh:
        last = read(folder(_numbered(config.name, new, number - 1)))
        if last.status != "FINISHED":
            return last, True
    return dataclasses.replace(new, name=_numbered(config.name, new, number)), False


def again(found: RunRecord, store: Store, *, continued: bool) -> RunRecord:
    """The run as it is now that the lease on it is ours; another process may have worked on it.

    Raises:
        CheckpointError: the record is damaged.
        LeaseError: the run is not any more what was found.
        StoreError: the store cannot be reached.
    """
    if not continued:
        if store.exists(NAME):
            raise LeaseError(
                f"run {found.name}: another process has just begun it. Give the command again."
            )
        return found
    now = read(store)
    if now.status == "FINISHED":
        raise LeaseError(f"run {now.name}: another process has just finished it.")
    return now


def _pinned(new: RunRecord, store: Store, *, fresh: bool) -> tuple[RunRecord, bool]:
    if not store.exists(NAME):
        return new, False
    if fresh:
        raise ConfigError(
            f"run.name = {new.name!r}: there is such a run, and --fresh does not go on with one. "
            "Choose another name."
        )
    found = read(store)
    there = {**found.identity, "manifest": found.manifest_digest[:12]}
    here = {**new.identity, "manifest": new.manifest_digest[:12]}
    differing = checkpoint.differences(there, here)
    if differing:
        raise CheckpointError(
            f"run.name = {new.name!r}: there is another run of this name: {differing}. Choose "
            "another name."
        )
    if found.status == "FINISHED":
        raise ConfigError(f"run.name = {new.name!r}: this run is finished. Choose another name.")
    return found, True


def _numbered(prefix: str, record: RunRecord, number: int) -> str:
    text = json.dumps(record.identity, sort_keys=True) + record.manifest_digest
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:8]}-{number:03d}"
