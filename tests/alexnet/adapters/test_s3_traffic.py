"""Every request to S3 is counted once, in whatever process it was made."""

import pytest

from alexnet.adapters.object_store import open_store, s3_client
from alexnet.dataset import manifest
from alexnet.errors import StoreError
from alexnet.runs.checkpoint_store import Checkpoints
from alexnet.telemetry import s3_usage
from alexnet.training.loop import Trainer
from tests.alexnet.adapters.chaos_proxy import chaos_proxy
from tests.local_worker import LocalWorker
from tests.tiny_data import tiny_run

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def from_nothing():
    s3_usage.OF_PROCESS.take()


def counted():
    """What was counted since, without the prefix of an event's metrics."""
    found = s3_usage.metrics(s3_usage.OF_PROCESS.take())
    return {name.removeprefix(s3_usage.PREFIX): int(count) for name, count in found.items()}


def test_each_kind_of_request_is_counted_with_its_bytes(bucket_url, tmp_path):
    store = open_store(bucket_url)
    store.write("a", b"x" * 1000)
    assert counted() == {"put_requests": 1, "put_bytes": 1000}
    assert store.read("a", 10, 90) == b"x" * 90
    assert counted() == {"get_requests": 1, "get_bytes": 90}
    assert store.list() == ["a"]
    assert counted() == {"list_requests": 1}
    store.delete("a")
    assert counted() == {"delete_requests": 1}
    large = tmp_path / "large"
    large.write_bytes(b"y" * (9 * 2**20))
    store.upload(large, "large")
    begun, parts, completed = 1, 2, 1
    assert counted() == {"put_requests": begun + parts + completed, "put_bytes": 9 * 2**20}


def test_a_question_that_is_answered_no_is_no_error(bucket_url):
    store = open_store(bucket_url)
    assert not store.exists("nothing")
    assert store.create("new", b"1")
    assert not store.create("new", b"2")
    assert "get_errors" not in (found := counted())
    assert "put_errors" not in found


def test_what_a_server_refuses_is_an_error(bucket_url, as_reader):
    with pytest.raises(StoreError, match="access denied"):
        open_store(bucket_url).write("a", b"x")
    assert counted() == {"put_requests": 1, "put_errors": 1, "put_bytes": 1}


def test_a_training_counts_what_a_failing_server_has_answered(
    data_url, s3, impatient, monkeypatch, tmp_path
):
    store, worker = open_store(data_url), LocalWorker()
    data = manifest.read(store)
    shards = [manifest.read_index(store, shard) for shard in data.split("train")]
    with chaos_proxy(s3.endpoint, share=0.2) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        s3_client.forget_client()
        s3_usage.OF_PROCESS.take()
        kept = Checkpoints(open_store(str(tmp_path)), 2, "token")
        Trainer(tiny_run(data_url), data, store, worker, kept).run()
    s3_client.forget_client()
    told = worker.events[-1].metrics
    broken = ("cut", "reset", "status 500", "status 503", "stall")
    assert told["data/s3_get_requests"] == sum(proxy.answers.values())
    assert told["data/s3_get_errors"] == sum(proxy.answers[fault] for fault in broken) > 0
    assert told["data/s3_get_bytes"] > sum(shard.tar_bytes for shard in shards)
