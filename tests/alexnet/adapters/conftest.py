"""A trained checkpoint, and versions of it in a real registry."""

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.dataset import shard_reader, shard_writer
from tests.registry import register, trained_run
from tests.tiny_data import NUM_TRAIN, NUM_VAL, colour_samples, new_record


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


@pytest.fixture
def data_url(bucket_url):
    """The tiny data set in a bucket."""
    splits = {"train": colour_samples("train", NUM_TRAIN), "val": colour_samples("val", NUM_VAL)}
    shard_writer.write_dataset(open_store(bucket_url), "tiny", ["red", "green", "blue"], splits, 20)
    return bucket_url


@pytest.fixture
def impatient(monkeypatch):
    """A stalled answer is given up after half a second, and pauses are short."""
    monkeypatch.setattr("alexnet.adapters.object_store.s3_client.SILENCE_S", 0.5)
    monkeypatch.setattr("alexnet.adapters.object_store.s3.FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(shard_reader, "PIECE_BYTES", 8000)
