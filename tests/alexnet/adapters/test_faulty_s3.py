"""An epoch from an S3 server that fails all the time is the epoch from one that does not."""

import pytest
import torch

from alexnet import manifest, shard_reader, shards
from alexnet.adapters.object_store import CachedStore, open_store, s3_client
from alexnet.batch import join
from alexnet.errors import StoreError
from alexnet.plan import Run
from alexnet.shard_reader import ShardReader
from alexnet.stream import TrainParts, training_batches
from tests.alexnet.adapters.chaos_proxy import FAULTS, chaos_proxy
from tests.tiny_data import NUM_TRAIN, NUM_VAL, colour_samples, tiny_run

pytestmark = pytest.mark.slow


@pytest.fixture
def data_url(bucket_url):
    """The tiny data set in a bucket."""
    splits = {"train": colour_samples("train", NUM_TRAIN), "val": colour_samples("val", NUM_VAL)}
    shards.write_dataset(open_store(bucket_url), "tiny", ["red", "green", "blue"], splits, 20)
    return bucket_url


@pytest.fixture
def impatient(monkeypatch):
    """A stalled answer is given up after half a second, and pauses are short."""
    monkeypatch.setattr("alexnet.adapters.object_store.s3_client.SILENCE_S", 0.5)
    monkeypatch.setattr("alexnet.adapters.object_store.s3.FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(shard_reader, "PIECE_BYTES", 8000)


def epoch(store):
    config = tiny_run(store.url, epochs=2)
    parts = TrainParts(
        store=store,
        manifest=manifest.read(store),
        data=config.data,
        augment=config.augment,
        train=config.train,
        rank=0,
        world_size=1,
        start_step=0,
    )
    return [join(group, torch.device("cpu")) for group in training_batches(parts)]


@pytest.mark.parametrize("cached", [False, True])
def test_ids_and_pixels_are_those_of_a_clean_epoch(
    data_url, s3, impatient, monkeypatch, tmp_path, cached
):
    store = open_store(data_url)
    clean = epoch(store)
    with chaos_proxy(s3.endpoint, share=0.3) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        s3_client.forget_client()
        found = epoch(CachedStore(store, tmp_path, 2**30) if cached else store)
    s3_client.forget_client()
    for one, two in zip(found, clean, strict=True):
        assert torch.equal(one.ids, two.ids)
        assert torch.equal(one.images, two.images)
        assert not one.skipped
    total = sum(proxy.answers.values())
    assert proxy.answers["none"] < 0.8 * total
    if not cached:
        assert all(proxy.answers[fault] for fault in FAULTS), proxy.answers


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s3, key: s3.delete_object(Bucket="datasets", Key=key), "no such object"),
        (
            lambda s3, key: s3.put_object(Bucket="datasets", Key=key, Body=b"x"),
            "replaced while it was read",
        ),
    ],
)
def test_a_shard_deleted_or_replaced_under_a_running_epoch_is_named(data_url, s3, change, message):
    store = open_store(data_url)
    reader = ShardReader(store, manifest.read(store).split("train"))
    reader.read(Run(1, 0, 2))
    change(s3.client(), f"{data_url.removeprefix('s3://datasets/')}/train-000001.tar")
    with pytest.raises(StoreError, match=rf"train-000001\.tar: {message}") as caught:
        reader.read(Run(1, 2, 2))
    assert type(caught.value) is StoreError  # and not one that may pass
