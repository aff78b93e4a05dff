"""A trained checkpoint, and versions of it in a real registry."""

import dataclasses

import pytest

from alexnet import manifest as manifests
from alexnet.adapters import mlflow_registry
from alexnet.adapters.mlflow_tracking import TrackedRun
from alexnet.adapters.object_store import open_store
from tests.tiny_data import VAL_IMAGES, new_record, tiny_run, train_alone


@pytest.fixture(scope="session")
def trained(tiny_url, tmp_path_factory):
    """Configuration, manifest, checkpoint folder and metrics of a short run."""
    folder = tmp_path_factory.mktemp("trained")
    config, store = tiny_run(tiny_url, epochs=8), open_store(tiny_url)
    manifest = manifests.read(store)
    trainer, _ = train_alone(config, manifest, store, folder)
    with trainer.checkpoints.best(pytest.fail) as (best, checkpoint):
        yield config, manifest, checkpoint, best.metrics


@pytest.fixture
def registered(trained, mlflow_url, monkeypatch):
    """A function that registers the checkpoint under a name, for a run of its own; the version."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    records = {}

    def register(name, run=None):
        config, manifest, folder, metrics = trained
        registry = dataclasses.replace(config.registry, model_name=name)
        config = dataclasses.replace(config, registry=registry)
        run = run or f"run-{len(records)}"
        record = records.setdefault(run, new_record(config, manifest, run))
        tracked = TrackedRun(record, print)
        tracked.start()
        arguments = (folder, config, manifest, tracked.run_id, metrics, VAL_IMAGES[:3])
        version = mlflow_registry.register(*arguments)
        tracked.finish(dataclasses.replace(record, status="FINISHED"))
        return version

    return register
