"""What is checked and named before a training starts."""

import dataclasses
import os
import secrets
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from alexnet import digits
from alexnet import manifest as manifests
from alexnet.adapters.mlflow_tracking import tracking_uri
from alexnet.adapters.object_store import CachedStore, open_store
from alexnet.config import RunConfig
from alexnet.manifest import MANIFEST_NAME, Manifest
from alexnet.plan import EpochPlan
from alexnet.store import Store

DIGITS_DIR = Path("data") / "digits-64px"
"""Where the embedded digits are written on first use."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a training starts from, checked."""

    config: RunConfig
    """With an absolute `cluster.storage_url`, because workers start in another directory."""
    store: Store
    manifest: Manifest
    run_name: str


def prepare(config: RunConfig) -> Inputs:
    """Open and check the data and the checkpoint folder, before anything is started.

    Raises:
        AlexNetError: something is missing, does not fit or cannot be written.
    """
    tracking_uri()
    folder, name = manifests.locate(config.data.url or str(DIGITS_DIR))
    store = open_store(folder)
    if not config.data.url and not store.exists(MANIFEST_NAME):
        digits.write(store)
    if config.data.cache_gib:
        budget = int(config.data.cache_gib * 2**30)
        store = CachedStore(store, Path(config.data.cache_dir), budget)
    manifest = manifests.read(store, name)
    manifests.check_classes(manifest, config.model.num_classes)
    manifest.split("val")
    EpochPlan(  # refuses a batch larger than the data set
        manifest.split("train").sizes,
        seed=config.train.seed,
        epoch=0,
        num_streams=config.data.num_streams,
        window_samples=config.data.window_samples,
        global_batch_size=config.train.global_batch_size,
    )
    storage = open_store(config.cluster.storage_url)
    storage.check_writable()
    cluster = dataclasses.replace(config.cluster, storage_url=storage.url)
    config = dataclasses.replace(config, cluster=cluster)
    return Inputs(config, store, manifest, unique_name(config.name))


def unique_name(name: str) -> str:
    """A name for the run that no other has: Ray would resume a run whose name it finds."""
    return f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def git_commit() -> str:
    """The commit of this checkout, else `GIT_COMMIT` from the environment, else "unknown".

    A Ray job's working directory has no `.git`; the one who submits it can pass the commit on.
    """
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - the user's git
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("GIT_COMMIT", "unknown")
    return done.stdout.strip()
