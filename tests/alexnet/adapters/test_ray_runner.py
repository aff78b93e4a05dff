"""On a real Ray cluster: workers agree with one process, and a failure costs little."""

import dataclasses
import os
import shutil
import signal
import threading

import pytest
import ray
from ray.util.placement_group import placement_group, placement_group_table
from ray.util.state import list_actors

from alexnet.adapters import ray_cluster, ray_controller, ray_events, ray_runner
from alexnet.adapters.object_store import open_store
from alexnet.config import ClusterConfig
from alexnet.dataset import manifest as manifests
from alexnet.errors import DataError, StoreUnavailableError
from alexnet.loading.data_loader import ValidationStream
from alexnet.runs import checkpoint
from alexnet.runs.checkpoint_store import Checkpoints
from alexnet.training.evaluation import Normalizer, evaluate
from alexnet.training.loop import Trainer
from tests.local_worker import LocalWorker
from tests.tiny_data import NUM_VAL, spoil, tiny_run, train_alone
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def train(connected, tmp_path):
    """A tiny run with two workers on the cluster; its configuration, checkpoints and end."""

    def train(url, listeners=(), stop=None, cluster=None, **changes):
        config = tiny_run(url, **changes)
        settings = {"num_workers": 2, "max_failures": 1, **(cluster or {})}
        data = dataclasses.replace(config.data, max_bad_share=0.1)
        config = dataclasses.replace(config, cluster=ClusterConfig(**settings), data=data)
        store, checkpoints = open_store(url), Checkpoints(open_store(str(tmp_path / "run")), 3)
        end = ray_runner.train(
            config,
            manifests.read(store),
            store,
            checkpoints=checkpoints,
            resources=ray_cluster.claim(config.cluster),
            listeners=listeners,
            stop=stop or threading.Event(),
        )
        return config, checkpoints, end

    return train


def kill_when(condition, find, events):
    """A watcher that keeps events, and once the condition holds kills one of what it found."""
    found, killed = [], []

    def watch(event):
        events.append(event)
        if not found:
            found.extend(find())  # takes a second
        if not killed and condition():
            os.kill(found[0], signal.SIGKILL)
            killed.append(found[0])

    return watch


def check_evaluated(config, store, checkpoints):
    """What workers with unequal shares have measured is what one process measures, exactly."""
    manifest, worker = manifests.read(store), LocalWorker()
    alone = Trainer(config, manifest, store, worker, checkpoints)
    with checkpoints.best(pytest.fail) as (best, folder):
        alone.network.load_state_dict(checkpoint.read_state(folder)["model"])
    validation = ValidationStream(alone.validation_parts())
    counts = evaluate(alone.network, validation, Normalizer.of(manifest, worker.device), worker)
    assert counts.images == NUM_VAL  # 29: 14 on one worker, 15 on the other
    assert best.metrics["top1"] == counts.rates()["top1"]
    assert best.metrics["top5"] == counts.rates()["top5"]


def pids(class_name):
    only = [("class_name", "=", class_name), ("state", "=", "ALIVE")]
    return [actor.pid for actor in list_actors(filters=only)]


@pytest.mark.parametrize(
    "victim", ["RayTrainWorker", pytest.param("TrainController", marks=pytest.mark.proof)]
)
def test_a_killed_process_costs_steps_and_no_sample_and_two_workers_evaluate_as_one_process(
    train, spoilt, tmp_path, victim
):
    url, _ = spoilt(bad=[5, 40, 41, 99])
    events, run = [], Checkpoints(open_store(str(tmp_path / "run")), 3)
    watch = kill_when(lambda: bool(run.steps()), lambda: pids(victim), events)
    config, checkpoints, end = train(url, (watch,), epochs=12)
    starts = [event.step for event in events if event.kind == "started"]
    assert len(starts) == 2
    assert starts[1] > starts[0] == 0
    assert [event.kind for event in events].count("failed") >= 1
    assert end == "done"
    assert checkpoints.steps()[-1] == 12 * (103 // 12)

    check_evaluated(config, open_store(url), checkpoints)
    accounts = {event.ledger.epoch: event.ledger for event in events if event.ledger}
    alone = LocalWorker()
    train_alone(config, manifests.read(open_store(url)), open_store(url), tmp_path / "alone", alone)
    for expected in (event.ledger for event in alone.events if event.ledger):
        found = accounts.pop(expected.epoch)
        assert found.metrics() == expected.metrics()
        assert sorted(found.skipped) == sorted(expected.skipped)
    assert not accounts


@ray.remote(num_cpus=0)
class Claimant:
    """As Ray Train's controller, it claims room for workers."""

    def claim(self):
        return placement_group([{"CPU": 0.1}])

    def pid(self):
        return os.getpid()


def test_only_the_room_of_a_dead_controllers_workers_is_freed(connected):
    alive, dead = Claimant.remote(), Claimant.remote()
    of_driver = placement_group([{"CPU": 0.1}])
    of_alive, of_dead = ray.get([alive.claim.remote(), dead.claim.remote()])
    os.kill(ray.get(dead.pid.remote()), signal.SIGKILL)
    wait_until(lambda: _freed_state(of_dead) == "REMOVED")
    assert "REMOVED" not in (_freed_state(of_driver), _freed_state(of_alive))


def _freed_state(group):
    ray_runner._free_placement_groups()  # Ray learns of a death a moment later
    return placement_group_table(group)["state"]


@pytest.mark.proof
def test_a_worker_that_hangs_is_noticed_and_the_group_starts_again(train, tiny_url, tmp_path):
    events, stopped = [], []
    run = Checkpoints(open_store(str(tmp_path / "run")), 3)

    def freeze(event):
        events.append(event)
        if not stopped and run.steps():
            stopped.extend(pids("RayTrainWorker")[:1])
            os.kill(stopped[0], signal.SIGSTOP)

    cluster = {"store_timeout_s": 5.0, "hang_timeout_s": 8.0}
    _, checkpoints, end = train(tiny_url, (freeze,), cluster=cluster, epochs=24)
    assert end == "done"
    assert [event.kind for event in events].count("started") == 2
    assert checkpoints.steps()[-1] == 24 * (103 // 12)


def test_who_waits_for_workers_is_told_and_a_watcher_that_fails_keeps_nobody_from_the_rest(
    train, tiny_url, monkeypatch
):
    monkeypatch.setattr(ray_events, "PATIENCE_S", 1.0)
    events = []
    other_job = ray.remote(num_cpus=2)(Occupant).remote()
    ray.get(other_job.is_there.remote())

    def fail(event):
        raise RuntimeError(event.kind)

    def watch(event):
        if not events:
            ray.kill(other_job)
        events.append(event)

    _, _, end = train(tiny_url, (fail, watch), cluster={"num_workers": 1}, epochs=2)
    assert end == "done"
    assert "waiting for 1 workers; the cluster has 0 CPUs free" in events[0].text
    assert [event.step for event in events if event.kind == "evaluated"] == [8, 16]


class Occupant:
    """Holds a CPU."""

    def is_there(self):
        return True


def test_who_is_asked_to_stop_leaves_a_checkpoint_of_the_step_it_was_at(train, tiny_url):
    events, stop = [], threading.Event()

    def ask(event):
        events.append(event)
        if event.kind == "progress" and event.step >= 3:
            stop.set()

    _, checkpoints, end = train(tiny_url, (ask,), stop, epochs=10**4, log_every_steps=1)
    assert end == "stopped"
    assert checkpoints.steps()[-1] >= max(event.step for event in events)
    assert checkpoints.newest(lambda meta, where: None, pytest.fail)


def test_altered_data_stops_the_run_at_once_with_its_name(train, tiny_url, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(tiny_url, folder)
    spoil(folder, range(40, 60))
    with pytest.raises(DataError, match=r"train-000002\.tar: .*CRC-32C .*data\.max_bad_share"):
        train(str(folder), cluster={"num_workers": 1})


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (RuntimeError("[/x/gloo/pair.cc:545] Read error: reset by peer"), ray_controller.ECHO),
        (ray.exceptions.ActorDiedError(), "its process or its node died"),
        (StoreUnavailableError("s3://b/x: does not answer.\nmore"), "s3://b/x: does not answer."),
        (ValueError(), "ValueError()"),
    ],
)
def test_a_failure_has_a_reason_of_one_line(failure, reason):
    assert ray_controller.reason(failure) == reason
