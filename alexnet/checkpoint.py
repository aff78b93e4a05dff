"""What a checkpoint is on disk, and the only code that reads or writes one.

A checkpoint is a directory:

    meta.json   the fields of `CheckpointMeta`; written last, so its presence means "complete"
    state.pt    {"model": ..., "optimizer": ...}, tensors on the CPU
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch

from alexnet.errors import CheckpointError
from alexnet.ledger import Skipped

SCHEMA = 1
"""Raise by one when a field is added, removed or changes meaning; keep a reader for the old."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointMeta:
    """Everything needed to decide whether to load `state.pt`, readable without torch."""

    schema: int = SCHEMA
    step: int
    """Optimizer updates completed; training resumes with update number `step`."""
    images_seen: int
    """Training images consumed over all workers since step 0."""
    config_digest: str
    """`RunConfig.digest()`, to refuse a resume under another configuration."""
    manifest_digest: str
    """SHA-256 of the manifest: which data this model has seen."""
    top1: float | None = None
    """Validation top-1 in [0, 1] at `step`; None where it was not measured."""
    skipped: tuple[Skipped, ...] = ()
    """Samples of the epoch under way that could not be used, over all workers."""


class CheckpointState(TypedDict):
    """The tensors of `state.pt`. No generator state: `alexnet.seeds` derives every draw."""

    model: dict[str, Any]
    optimizer: dict[str, Any]


def write(folder: Path, meta: CheckpointMeta, state: CheckpointState) -> None:
    """Write a checkpoint into an existing empty directory.

    Raises:
        CheckpointError: it cannot be written.
    """
    try:
        with (folder / "state.pt").open("wb") as file:  # a path would hide why writing failed
            torch.save(state, file)
        partial = folder / "meta.json.partial"
        partial.write_text(json.dumps(dataclasses.asdict(meta), indent=1) + "\n")
        partial.rename(folder / "meta.json")
    except (OSError, RuntimeError) as error:
        # torch may answer a failed write with an error of its own, on top of the true one.
        chain = (error, error.__context__, error.__cause__)
        cause = next((link for link in chain if isinstance(link, OSError)), error)
        raise CheckpointError(
            f"{folder}: cannot write a checkpoint: {getattr(cause, 'strerror', None) or cause}. "
            "Free space in the temporary folder, or set TMPDIR."
        ) from error


def read_meta(folder: Path) -> CheckpointMeta:
    """What the checkpoint says of itself.

    Raises:
        CheckpointError: it was never completed, or is of another schema.
    """
    path = folder / "meta.json"
    if not path.exists():
        raise CheckpointError(
            f"{folder}: no meta.json, so this checkpoint was never completed. Use an older one."
        )
    tree = json.loads(path.read_text())
    if tree.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{folder}: schema {tree.get('schema')!r}; this code reads {SCHEMA}. "
            "Use the release that wrote it."
        )
    skipped = tuple(Skipped(*fields) for fields in tree.pop("skipped"))
    return CheckpointMeta(**tree, skipped=skipped)


def read_state(folder: Path) -> CheckpointState:
    """The tensors, on the CPU; nothing but tensors is unpickled.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        state: CheckpointState = torch.load(
            folder / "state.pt", map_location="cpu", weights_only=True
        )
    except Exception as error:  # torch raises what the damage happens to hit
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(
            f"{folder}/state.pt: cannot be read: {reason}. Use another checkpoint."
        ) from error
    return state


def check_same_run(meta: CheckpointMeta, config_digest: str, manifest_digest: str) -> None:
    """Refuse to go on with another configuration or other data.

    Raises:
        CheckpointError: one of the digests differs.
    """
    for what, found, wanted in (
        ("configuration", meta.config_digest, config_digest),
        ("data set", meta.manifest_digest, manifest_digest),
    ):
        if found != wanted:
            raise CheckpointError(
                f"checkpoint at step {meta.step}: its {what} {found[:12]} is not this run's "
                f"{wanted[:12]}. Start a new run."
            )
