"""What a checkpoint is on disk, and the only code that reads or writes one.

A checkpoint is a directory:

    meta.json   the fields of `CheckpointMeta` and a digest of them; written last, so its presence
                means "complete"
    state.pt    {"model": ..., "optimizer": ...}, tensors on the CPU
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from alexnet.config import json_digest
from alexnet.errors import CheckpointError
from alexnet.storage.documents import Reader
from alexnet.telemetry.epoch_ledger import Skipped

SCHEMA = 2
"""Raise by one when a field is added, removed or changes meaning; keep a reader for the old."""

META, STATE = "meta.json", "state.pt"
"""Names of the two files."""


class CheckpointState(TypedDict):
    """The tensors of `state.pt`. No generator state: `alexnet.seeds` derives every draw."""

    model: dict[str, Any]
    optimizer: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointMeta:
    """Everything needed to decide whether to load `state.pt`, readable without torch."""

    schema: int = SCHEMA
    step: int
    """Optimizer updates completed; training resumes with update number `step`."""
    images_seen: int
    """Training images consumed over all workers since step 0."""
    time_ms: int
    """When training was at `step`, in milliseconds since 1970."""
    identity: Mapping[str, Any]
    """`RunConfig.identity()`, to refuse a resume under another configuration."""
    manifest_digest: str
    """SHA-256 of the manifest: which data this model has seen."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """top1 and top5 in [0, 1] and loss, of the validation at `step`; empty inside an epoch."""
    skipped: tuple[Skipped, ...] = ()
    """Samples of the epoch under way that could not be used, over all workers."""
    sha256: str = ""
    """Digest (hex) of `state.pt`; `write` fills it in."""


def snapshot(state: CheckpointState) -> CheckpointState:
    """A copy on the CPU that training does not change any more."""
    import torch

    def copied(item: Any) -> Any:
        if isinstance(item, torch.Tensor):
            return item.detach().to("cpu", copy=True)
        if isinstance(item, dict):
            return {key: copied(value) for key, value in item.items()}
        return [copied(value) for value in item] if isinstance(item, list) else item

    return CheckpointState(model=copied(state["model"]), optimizer=copied(state["optimizer"]))


def write(folder: Path, meta: CheckpointMeta, state: CheckpointState) -> None:
    """Write a checkpoint into an existing empty directory.

    Raises:
        CheckpointError: it cannot be written.
    """
    import torch

    try:
        with (folder / STATE).open("wb") as file:  # a path would hide why writing failed
            torch.save(state, file)
        tree = dataclasses.asdict(dataclasses.replace(meta, sha256=_digest(folder / STATE)))
        tree["digest"] = json_digest(tree)
        partial = folder / f"{META}.partial"
        partial.write_text(json.dumps(tree, indent=1) + "\n")
        partial.rename(folder / META)
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
        CheckpointError: it was never completed, is damaged, or is of another schema.
    """
    path = folder / META
    if not path.exists():
        raise CheckpointError(
            f"{folder}: no {META}, so this checkpoint was never completed. Use an older one."
        )
    return parse_meta(path.read_bytes(), str(path))


def parse_meta(text: bytes, where: str) -> CheckpointMeta:
    """The content of a `meta.json`.

    Raises:
        CheckpointError: it is damaged, or of another schema.
    """
    tree = READER.tree(text, where)
    if tree.pop("digest", "") != json_digest(tree):
        raise READER.damaged(where, "its digest is not that of its values")
    return READER.build(tree, where)


READER = Reader(CheckpointMeta, CheckpointError, "Use another checkpoint.")


def read_state(folder: Path, where: str = "") -> CheckpointState:
    """The tensors, on the CPU, as they were written; nothing but tensors is unpickled.

    Args:
        folder: with the checkpoint.
        where: begins the message of an error, if `folder` is a copy of another place.

    Raises:
        CheckpointError: the checkpoint is incomplete or damaged.
    """
    import torch

    meta, path = read_meta(folder), folder / STATE
    place = f"{where or folder}/{STATE}"
    if not path.exists() or _digest(path) != meta.sha256:
        raise CheckpointError(
            f"{place}: damaged: its SHA-256 is not that in {META}. Use another checkpoint."
        )
    try:
        state: CheckpointState = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what the content happens to hit
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(
            f"{place}: cannot be read: {reason}. Use another checkpoint."
        ) from error
    return state


def check_same_run(
    meta: CheckpointMeta, identity: Mapping[str, Any], manifest_digest: str, where: str
) -> None:
    """Refuse to resume with another configuration or other data.

    Raises:
        CheckpointError: something differs; it is named.
    """
    found = {**meta.identity, "manifest": meta.manifest_digest[:12]}
    differing = differences(found, {**identity, "manifest": manifest_digest[:12]})
    if differing:
        raise CheckpointError(
            f"{where}: of another run: {differing}. Start a new run, with another run.name or with "
            "--fresh."
        )


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The keys whose values differ, with both; empty if none does."""
    missing = "none"
    return ", ".join(
        f"{key} = {found.get(key, missing)!r} there, {wanted.get(key, missing)!r} here"
        for key in sorted({*found, *wanted})
        if found.get(key, missing) != wanted.get(key, missing)
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
