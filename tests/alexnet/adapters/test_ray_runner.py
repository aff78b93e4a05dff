"""On a real Ray cluster: workers agree with one process, and a killed worker costs little."""

import os
import signal

import pytest
from ray.util.state import list_actors

from alexnet import checkpoint
from alexnet import manifest as manifests
from alexnet.adapters import ray_runner
from alexnet.adapters.object_store import open_store
from alexnet.config import ClusterConfig
from alexnet.errors import ClusterError, DataError
from alexnet.loop import Normalizer, Trainer, evaluate
from alexnet.stream import ValidationStream
from alexnet.worker import LocalWorker
from tests.tiny_data import NUM_VAL, spoil, tiny_run

pytestmark = pytest.mark.slow


@pytest.fixture
def connected(job_cluster, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", job_cluster.gcs_address)
    ray_runner.connect()
    yield
    ray_runner.disconnect()


def train(url, folder, name, watchers=(), **changes):
    """A tiny run with two workers on the cluster."""
    import dataclasses

    config = tiny_run(url, **changes)
    cluster = ClusterConfig(num_workers=2, storage_url=str(folder), max_failures=1)
    data = dataclasses.replace(config.data, max_bad_share=0.1)
    config = dataclasses.replace(config, cluster=cluster, data=data)
    store = open_store(url)
    outcome = ray_runner.train(
        config,
        manifests.read(store),
        store,
        run_name=name,
        resources=ray_runner.claim(cluster),
        watchers=watchers,
    )
    return config, outcome


def test_two_workers_with_unequal_shares_evaluate_as_one_process_exactly(
    connected, tiny_url, tmp_path
):
    config, outcome = train(tiny_url, tmp_path, "unequal", epochs=2)
    store = open_store(tiny_url)
    manifest = manifests.read(store)
    worker = LocalWorker()
    alone = Trainer(config, manifest, store, worker)
    with outcome.best() as folder:
        alone.network.load_state_dict(checkpoint.read_state(folder)["model"])
    validation = ValidationStream(alone.validation_parts())
    counts = evaluate(alone.network, validation, Normalizer.of(manifest, worker.device), worker)
    assert counts.images == NUM_VAL  # 29: 14 on one worker, 15 on the other
    assert outcome.metrics["top1"] == counts.rates()["top1"]
    assert outcome.metrics["top5"] == counts.rates()["top5"]


def test_a_killed_worker_costs_the_steps_since_the_last_checkpoint_and_no_sample(
    connected, spoilt, tmp_path
):
    url, _ = spoilt(bad=[5, 40, 41, 99])
    events, killed = [], []

    def kill_once_a_checkpoint_is_kept(event):
        events.append(event)
        if not killed and kept_checkpoints(tmp_path / "killed"):
            killed.extend(train_worker_pids()[:1])
            os.kill(killed[0], signal.SIGKILL)

    config, _ = train(url, tmp_path, "killed", (kill_once_a_checkpoint_is_kept,), epochs=24)
    starts = [event.step for event in events if event.kind == "started"]
    assert len(starts) == 2
    assert starts[1] > starts[0] == 0
    assert events[-1].step == events[-1].steps == 24 * (103 // 12)

    accounts = {event.ledger.epoch: event.ledger for event in events if event.ledger}
    alone = LocalWorker()
    Trainer(config, manifests.read(open_store(url)), open_store(url), alone).run()
    for expected in (event.ledger for event in alone.events if event.ledger):
        found = accounts.pop(expected.epoch)
        assert found.metrics() == expected.metrics()
        assert sorted(found.skipped) == sorted(expected.skipped)
    assert not accounts


def kept_checkpoints(folder):
    """Checkpoints that Ray would go on from: it has written down that they are complete."""
    snapshot = folder / "checkpoint_manager_snapshot.json"
    return snapshot.exists() and "step-" in snapshot.read_text()


def train_worker_pids():
    """Processes of this cluster's Ray Train workers."""
    only = [("class_name", "=", "RayTrainWorker"), ("state", "=", "ALIVE")]
    return [actor.pid for actor in list_actors(filters=only)]


def test_altered_data_stops_the_run_at_once_with_its_name(connected, tiny_url, tmp_path):
    import shutil

    folder = tmp_path / "data"
    shutil.copytree(tiny_url, folder)
    spoil(folder, range(40, 60))
    with pytest.raises(DataError, match=r"train-000002\.tar: .*CRC-32C .*data\.max_bad_share"):
        train(str(folder), tmp_path / "runs", "altered")


def test_a_full_disk_stops_the_run_at_once_with_the_folder(connected, tiny_url, tmp_path):
    checkpoint_folder = tmp_path / "full" / "step-00000008"
    checkpoint_folder.mkdir(parents=True)
    (checkpoint_folder / "state.pt").symlink_to("/dev/full")
    with pytest.raises(ClusterError, match=f"'{tmp_path}': .* no space left"):
        train(tiny_url, tmp_path, "full")


def test_what_the_cluster_does_not_have_is_said_in_one_line(connected):
    with pytest.raises(ClusterError, match=r"cluster.device = 'gpu': the cluster has no GPU"):
        ray_runner.claim(ClusterConfig(device="gpu", start_timeout_s=0))
    with pytest.raises(ClusterError, match="num_workers = 50: .* needs 50 CPUs"):
        ray_runner.claim(ClusterConfig(num_workers=50, start_timeout_s=0))


def test_a_cluster_that_does_not_answer_is_named(monkeypatch):
    from infra.processes import free_ports

    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(ClusterError, match=r"RAY_ADDRESS = 127\.0\.0\.1:\d+: does not answer"):
        ray_runner.connect()
