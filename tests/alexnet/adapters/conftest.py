"""A trained checkpoint, and versions of it in a real registry."""

import pytest

from tests.registry import register, trained_run
from tests.tiny_data import new_record


@pytest.fixture(scope="session")
def trained(tiny_url, tmp_path_factory):
    """A short run whose best checkpoint can be registered."""
    with trained_run(tiny_url, tmp_path_factory.mktemp("trained")) as run:
        yield run


@pytest.fixture
def registered(trained, mlflow_url, monkeypatch, tmp_path):
    """A function that registers the checkpoint under a name, for a run of its own; the version."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    records = {}

    def make(name, run=None):
        run = run or f"run-{len(records)}"
        record = records.setdefault(run, new_record(trained.config, trained.manifest, run))
        return register(trained, name, record, f"{tmp_path}/decisions")

    return make
