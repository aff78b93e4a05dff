"""What a run gets of a cluster, or why it does not."""

import json
import subprocess
import sys
import threading

import pytest

from alexnet.adapters import ray_cluster
from alexnet.adapters.ray_cluster import Resources
from alexnet.config import ClusterConfig
from alexnet.errors import ClusterError
from infra.processes import free_ports
from tests import listening

CONNECT = """
import sys
from alexnet.adapters import ray_cluster
ray_cluster.connect()
print("connected", flush=True)
sys.stdin.read()
ray_cluster.disconnect()
"""


@pytest.mark.slow
def test_the_number_of_workers_is_as_asked_or_chosen(connected):
    assert ray_cluster.claim(ClusterConfig()) == Resources(2, 2, use_gpu=False)
    assert ray_cluster.claim(ClusterConfig(num_workers=1)) == Resources(1, 1, use_gpu=False)
    elastic = ClusterConfig(num_workers=(1, 50))  # there is room for the fewest
    assert ray_cluster.claim(elastic) == Resources(1, 50, use_gpu=False)


@pytest.mark.slow
def test_what_the_cluster_does_not_have_is_said_in_one_line(connected):
    with pytest.raises(ClusterError, match=r"cluster.device = 'gpu': the cluster has no GPU"):
        ray_cluster.claim(ClusterConfig(device="gpu", start_timeout_s=0))
    with pytest.raises(ClusterError, match="num_workers = 50: .* needs 50 CPUs"):
        ray_cluster.claim(ClusterConfig(num_workers=50, start_timeout_s=0))
    with pytest.raises(ClusterError, match="num_workers = 40: .* needs 40 CPUs"):
        ray_cluster.claim(ClusterConfig(num_workers=(40, 50), start_timeout_s=0))


def asked_for():
    """What the autoscaler is asked for, whoever runs; this cluster has none that would answer."""
    from ray._private.ray_constants import AUTOSCALER_RESOURCE_REQUEST_CHANNEL
    from ray.experimental.internal_kv import _internal_kv_get

    return json.loads(_internal_kv_get(AUTOSCALER_RESOURCE_REQUEST_CHANNEL) or b"[]")


@pytest.mark.slow
def test_while_it_waits_the_autoscaler_is_asked_and_afterwards_not(connected):
    seen = []
    look = threading.Event()

    def watch():
        while not look.wait(0.1):
            seen.append(asked_for())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with pytest.raises(ClusterError, match="num_workers = 3: .* needs 3 CPUs"):
            ray_cluster.claim(ClusterConfig(num_workers=3, device="cpu", start_timeout_s=5))
    finally:
        look.set()
        watcher.join()
    assert [{"CPU": 1.0}] * 3 in seen
    assert asked_for() == []


@pytest.mark.slow
def test_after_a_while_nodes_are_asked_for_that_are_not_taken_away(connected, monkeypatch):
    asked, real = [], ray_cluster.request_resources

    def request(bundles, bundle_label_selectors=None):
        asked.append((len(bundles), bundle_label_selectors))
        real(bundles=bundles, bundle_label_selectors=bundle_label_selectors)

    monkeypatch.setattr(ray_cluster, "request_resources", request)
    wanted = {"num_workers": 3, "device": "cpu"}
    with pytest.raises(ClusterError, match="needs 3 CPUs"):
        ray_cluster.claim(ClusterConfig(**wanted, start_timeout_s=3, on_demand_after_s=1))
    two_are_there = [{}, {}, {"ray.io/market-type": "on-demand"}]
    assert asked == [(3, [{}] * 3), (3, two_are_there), (0, None)]
    asked.clear()
    with pytest.raises(ClusterError, match="needs 3 CPUs"):
        ray_cluster.claim(ClusterConfig(**wanted, start_timeout_s=2))
    assert asked == [(3, [{}] * 3), (0, None)]


def test_a_gpu_is_asked_for_unless_the_cpu_is_wanted():
    assert ray_cluster._wanted(ClusterConfig(cpus_per_worker=6)) == [{"CPU": 6.0, "GPU": 1.0}]
    elastic = ClusterConfig(num_workers=(2, 8), device="gpu")
    assert ray_cluster._wanted(elastic) == [{"CPU": 1.0, "GPU": 1.0}] * 2
    assert ray_cluster._wanted(ClusterConfig(device="cpu")) == [{"CPU": 1.0}] * 2


@pytest.mark.parametrize(
    ("gpus", "cpus", "there"), [(0, 0, 0), (1, 0, 0), (1, 16, 1), (3, 16, 2), (2, 64, 2)]
)
def test_only_missing_workers_are_asked_for_on_demand(gpus, cpus, there):
    settings = ClusterConfig(num_workers=3, device="gpu", cpus_per_worker=8, on_demand_after_s=9)
    bundles = ray_cluster._wanted(settings)
    labels = ray_cluster._labels(settings, bundles, gpus, cpus, waited_s=9.5)
    assert labels == [{}] * there + [ray_cluster.ON_DEMAND] * (3 - there)
    assert ray_cluster._labels(settings, bundles, gpus, cpus, waited_s=8.5) == [{}] * 3


def test_a_cluster_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(ClusterError, match=r"RAY_ADDRESS = 127\.0\.0\.1:\d+: does not answer"):
        ray_cluster.connect()


@pytest.mark.slow
def test_a_cluster_of_this_machine_alone_is_reached_from_no_other(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", CONNECT], **pipes) as process:
        assert process.stdout.readline() == "connected\n"
        beyond, ports = listening.foreign(process.pid)
        process.communicate("")
    assert beyond == []
    assert ports > 3


def test_the_address_of_ray_client_is_refused_with_what_to_do(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:10001")
    with pytest.raises(ClusterError, match=r"ray://127\.0\.0\.1:10001: .*\(HOST:6379\), or .*job"):
        ray_cluster.connect()
