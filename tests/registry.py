"""A short training, and what is needed to register its checkpoint."""

import dataclasses
import itertools
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet.adapters import mlflow_registry
from alexnet.adapters.mlflow_model import Candidate
from alexnet.adapters.mlflow_tracking import TrackedRun
from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest as manifests
from alexnet.registry import lineage
from alexnet.telemetry import event_journal
from tests.tiny_data import VAL_IMAGES, new_record, tiny_run, train_alone


@dataclass(frozen=True)
class Trained:
    """A run that has ended."""

    config: Any
    manifest: Any
    data: Any
    """Store of its data set."""
    run: Any
    """Store of its folder."""
    best: Any
    """Meta data of the best checkpoint."""
    folder: Path
    """Of the same."""


@contextmanager
def trained_run(url, folder, **train):
    """A run on a tiny data set."""
    config, store = tiny_run(url, **{"epochs": 8, **train}), open_store(url)
    manifest = manifests.read(store)
    trainer, _ = train_alone(config, manifest, store, folder)
    with trainer.checkpoints.best(itertools.count) as (best, checkpoint):
        yield Trained(config, manifest, store, open_store(str(folder)), best, checkpoint)


def candidate(trained, record, run_id="0" * 32, **changes):
    """The best checkpoint of a run, as it would be registered for a record."""
    made_from = lineage.of_run(
        record,
        run_id,
        trained.best,
        trained.config,
        event_journal.read(trained.run),
        lineage.digests(trained.data, trained.manifest),
    )
    fields = {
        "folder": trained.folder,
        "config": trained.config,
        "manifest": trained.manifest,
        "images": VAL_IMAGES,
        "lineage": made_from,
    }
    return Candidate(**{**fields, **changes})


def register(trained, name, record, decisions_url):
    """Make a version of a run's best checkpoint, as a training does at its end."""
    tracked = TrackedRun(record, print)
    tracked.start()
    made = candidate(trained, record, tracked.run_id)
    version = mlflow_registry.register(name, made, decisions_url)
    tracked.finish(dataclasses.replace(record, status="FINISHED"))
    return version


def new_version(trained, name, decisions_url):
    """The same for a run that was never registered."""
    record = new_record(trained.config, trained.manifest, "run")
    return register(trained, name, record, decisions_url)
