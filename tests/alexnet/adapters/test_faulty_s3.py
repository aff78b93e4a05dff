"""An epoch from an S3 server that fails all the time is the epoch from one that does not."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from threading import Lock

import pytest
import torch

from alexnet.adapters.object_store import CachedStore, open_store, s3_client
from alexnet.dataset import manifest
from alexnet.dataset.shard_reader import SampleRange, ShardReader
from alexnet.errors import StoreError
from tests.alexnet.adapters.chaos_proxy import FAULTS, chaos_proxy
from tests.tiny_data import batches, tiny_run, train_parts

pytestmark = pytest.mark.slow


def epoch(store):
    config = tiny_run(store.url, epochs=2)
    return batches(train_parts(store, manifest.read(store), config))


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
    reader.read(SampleRange(1, 0, 2))
    change(s3.client(), f"{data_url.removeprefix('s3://datasets/')}/train-000001.tar")
    with pytest.raises(StoreError, match=rf"train-000001\.tar: {message}") as caught:
        reader.read(SampleRange(1, 2, 2))
    assert type(caught.value) is StoreError  # and not one that may pass


class Identities:
    """Credentials that a helper program hands out; those in use expire after some requests."""

    def __init__(self, path, first, second, *, announced):
        self.path, self.second, self.announced = path, second, announced
        self.first_key, self.used, self.lock = first["AWS_ACCESS_KEY_ID"], Counter(), Lock()
        self.hand_out(first)

    def hand_out(self, env):
        made = {
            "Version": 1,
            "AccessKeyId": env["AWS_ACCESS_KEY_ID"],
            "SecretAccessKey": env["AWS_SECRET_ACCESS_KEY"],
            "SessionToken": "",
        }
        if self.announced:
            # Nearer than botocore's limit of ten minutes: asked for again before each request.
            made["Expiration"] = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
        self.path.with_suffix(".new").write_text(json.dumps(made))
        self.path.with_suffix(".new").rename(self.path)

    def refuse(self, authorization):
        with self.lock:
            first = self.first_key in authorization
            self.used["first" if first else "second"] += 1
            if first and self.used["first"] == 12:
                self.hand_out(self.second)
            # Where expiry is announced, requests already signed are still let pass.
            return "ExpiredToken" if first and self.used["first"] > 12 + 8 * self.announced else ""


@pytest.mark.parametrize("announced", [True, False])
def test_credentials_that_expire_within_an_epoch_are_asked_for_again(
    data_url, s3, impatient, monkeypatch, tmp_path, announced
):
    store = open_store(data_url)
    clean = epoch(store)
    path = tmp_path / "credentials.json"
    identities = Identities(path, s3.env(), s3.reader_env(), announced=announced)
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = cat {path}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with chaos_proxy(s3.endpoint, share=0) as proxy:
        proxy.refuse = identities.refuse
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        s3_client.forget_client()
        found = epoch(store)
    s3_client.forget_client()
    assert identities.used["first"] >= 12
    assert identities.used["second"] > 0
    assert all(torch.equal(a.images, b.images) for a, b in zip(found, clean, strict=True))
