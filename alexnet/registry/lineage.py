"""The lineage of a model version: data, code, configuration, run and files, by their digests.

It lies among the version's files. Its own SHA-256 is a tag of the version, so it is kept in
MLflow's database, and all else follows from it: the files, and the data down to each shard.
"""

import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from typing import NamedTuple

from alexnet.config import RunConfig
from alexnet.dataset import manifest as manifests
from alexnet.dataset.manifest import Manifest, Shard
from alexnet.errors import ArtifactError
from alexnet.runs.checkpoint import CheckpointMeta
from alexnet.runs.run_record import LostWork, RunRecord
from alexnet.storage.documents import Reader
from alexnet.storage.store import ReadableStore
from alexnet.telemetry.epoch_ledger import Ledger
from alexnet.telemetry.events import Event

SCHEMA = 1
"""Raise by one when a field is added, removed or changes meaning; keep a reader for the old."""

NAME = "lineage.json"

RUN_KEY = "run_key"
"""Tag by which the MLflow run of a training, and its version, are found."""

READ_THREADS = 16

WEIGHTS_PATH = "artifacts/weights.safetensors"
"""Among `Lineage.files`."""


class ShardDigest(NamedTuple):
    """A shard as it was when the version was made."""

    name: str
    num_samples: int
    num_bytes: int
    sha256: str
    """Of the tar."""


class Start(NamedTuple):
    """Workers started or resumed."""

    step: int
    workers: int
    time_ms: int
    """Since 1970."""


class EpochCounts(NamedTuple):
    """The ledger of an epoch."""

    epoch: int
    expected: int
    delivered: int
    skipped: int
    left_over: int


class Parent(NamedTuple):
    """The version whose weights a training began with."""

    version: str
    weights_sha256: str


def installed() -> dict[str, str]:
    """Version of every package of this environment, by name.

    Folders that an interrupted installation has left without a description are no packages.
    """
    found = {}
    for package in metadata.distributions():
        with suppress(FileNotFoundError):
            about = package.metadata  # parsed at each access
            if about["Name"] and about["Version"]:
                found[about["Name"]] = about["Version"]
    return dict(sorted(found.items()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """The document."""

    schema: int = SCHEMA
    run_key: str
    run_name: str
    mlflow_run_id: str
    step: int
    """Of the checkpoint."""
    metrics: Mapping[str, float]
    """top1 and top5 in [0, 1] and loss, on the validation split."""
    git_commit: str
    """Of the code that began the run; `-dirty` behind it: with changes that are not committed."""
    config: str
    """The whole configuration as TOML."""
    config_digest: str
    recipe_digest: str
    """`RunConfig.recipe_digest()`."""
    seed: int
    data_name: str
    data_url: str
    """Folder of the data set."""
    manifest_digest: str
    shards: Mapping[str, tuple[ShardDigest, ...]]
    """By split."""
    starts: tuple[Start, ...]
    """More than one: the run was restarted, or its workers changed in number."""
    lost: tuple[LostWork, ...]
    """What failures have cost."""
    ledger: tuple[EpochCounts, ...]
    parent: Parent | None = None
    """None: the training began with random weights."""
    python: str = field(default_factory=platform.python_version)
    packages: Mapping[str, str] = field(default_factory=installed)
    """Versions of all that was installed where the version was made."""
    image_digest: str = field(default_factory=lambda: os.environ.get("IMAGE_DIGEST", ""))
    """Of the container, if its environment names it in `IMAGE_DIGEST`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 (hex) of every other file of the version, by path."""

    @property
    def weights_sha256(self) -> str:
        """Of the file of weights."""
        return self.files[WEIGHTS_PATH]

    @property
    def tree_is_clean(self) -> bool:
        """Whether the commit is known and is all of the code."""
        return self.git_commit != "unknown" and not self.git_commit.endswith("-dirty")

    def tags(self) -> dict[str, str]:
        """The tags of the version."""
        return {
            RUN_KEY: self.run_key,
            "manifest_digest": self.manifest_digest,
            "config_digest": self.config_digest,
            "recipe_digest": self.recipe_digest,
            "git_commit": self.git_commit,
            "seed": str(self.seed),
            "step": str(self.step),
            "workers": ", ".join(str(start.workers) for start in self.starts),
            "restarts": str(max(0, len(self.starts) - 1)),
            "skipped_samples": str(sum(epoch.skipped for epoch in self.ledger)),
            "image_digest": self.image_digest or "unknown",
            "parent_version": self.parent.version if self.parent else "none",
        } | {key: f"{value:.6g}" for key, value in self.metrics.items()}

    def to_json(self) -> bytes:
        """The document as bytes."""
        return (json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n").encode()


def of_run(
    record: RunRecord,
    mlflow_run_id: str,
    checkpoint: CheckpointMeta,
    config: RunConfig,
    events: Iterable[Event],
    shards: Mapping[str, tuple[ShardDigest, ...]],
    parent: Parent | None = None,
) -> Lineage:
    """The document of a checkpoint, but for the version's files.

    Args:
        record: of the run.
        mlflow_run_id: its name in MLflow.
        checkpoint: what becomes a version.
        config: of the run.
        events: the run's journal.
        shards: from `digests`.
        parent: whose weights it began with.
    """
    starts: dict[int, Start] = {}
    ledgers: dict[int, Ledger] = {}
    for event in events:
        if event.kind == "started":
            starts[event.time_ms] = Start(event.step, event.workers, event.time_ms)
        if event.ledger:
            ledgers.setdefault(event.ledger.epoch, event.ledger)
    return Lineage(
        run_key=record.key,
        run_name=record.name,
        mlflow_run_id=mlflow_run_id,
        step=checkpoint.step,
        metrics=checkpoint.metrics,
        git_commit=record.git_commit,
        config=record.config,
        config_digest=config.digest(),
        recipe_digest=config.recipe_digest(),
        seed=config.train.seed,
        data_name=record.data_name,
        data_url=record.data_url,
        manifest_digest=record.manifest_digest,
        shards=shards,
        starts=tuple(starts[time_ms] for time_ms in sorted(starts)),
        lost=record.lost,
        parent=parent,
        ledger=tuple(
            EpochCounts(epoch, each.expected, each.delivered, len(each.skipped), each.left_over)
            for epoch, each in sorted(ledgers.items())
        ),
    )


def digests(store: ReadableStore, manifest: Manifest) -> dict[str, tuple[ShardDigest, ...]]:
    """The shards of all splits, as their indexes name them.

    Raises:
        StoreError: an index cannot be read.
        DataError: one is not the manifest's.
    """

    def digest(shard: Shard) -> ShardDigest:
        index = manifests.read_index(store, shard)
        return ShardDigest(shard.name, shard.num_samples, index.tar_bytes, index.tar_sha256.hex())

    with ThreadPoolExecutor(READ_THREADS) as threads:
        return {
            split: tuple(threads.map(digest, manifest.split(split))) for split in manifest.splits
        }


def from_json(data: bytes) -> Lineage:
    """What `Lineage.to_json` wrote.

    Raises:
        ArtifactError: it is something else, or of another release.
    """
    return READER.parse(data, NAME)


READER = Reader(Lineage, ArtifactError, "Register the checkpoint again.")


def sha256(data: bytes) -> str:
    """Digest (hex) of bytes."""
    return hashlib.sha256(data).hexdigest()
