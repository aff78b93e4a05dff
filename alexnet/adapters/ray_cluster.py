"""Connecting to a Ray cluster, or starting one, and the resources that a run gets of it."""

import json
import logging
import os
import shutil
import site
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private import ray_constants
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray.autoscaler.sdk import request_resources
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alexnet.adapters import container_memory
from alexnet.config import ClusterConfig
from alexnet.errors import ClusterError, first_line
from alexnet.training.resource_needs import Node

CPU_WORKERS = 2
"""Workers when the choice is ours and the cluster has no GPU: the least that is data-parallel."""

TRAIN_SETTINGS = {
    # At its default of 2 s, the end of workers is noticed that much later.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # After a node is lost, Ray first waits this long for as many workers as before.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
    # Workers that start exchange addresses through the controller; without a limit one that
    # hangs there would be waited for without end.
    "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": "300",
}
"""Of Ray Train, where the environment has none."""

ROOT = Path(__file__).resolve().parents[2]
"""Folder of the packages that are at work: a checkout, a job's working directory, or where a wheel
was installed."""

ANSWER_S = 5.0
"""How long a cluster may take to accept a connection; Ray itself would try for minutes."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a run gets of the cluster."""

    min_workers: int
    max_workers: int
    """More than `min_workers` if their number follows the cluster."""
    use_gpu: bool


def connect() -> None:
    """Join the cluster this job or `RAY_ADDRESS` names, or start one on this machine.

    Raises:
        ClusterError: the cluster does not answer.
    """
    address = os.environ.get("RAY_ADDRESS")
    for name, value in TRAIN_SETTINGS.items():
        os.environ.setdefault(name, value)
    if address:
        _check_answers(address)
    try:
        if address:
            ray.init(
                address=address,
                runtime_env={"env_vars": _code()},
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        else:
            # As it is by default where Ray supports no other nodes; else it listens on all of a
            # laptop's interfaces, whatever address it is given.
            ray_constants.ENABLE_RAY_CLUSTER = False
            os.environ.update(_code())  # which all of it inherits; a runtime_env starts later
            os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"  # nobody takes this node away
            # A laptop may have one core; two workers then share it.
            cpus = max(CPU_WORKERS, os.cpu_count() or 1)
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        where = f"RAY_ADDRESS = {address}" if address else "a Ray cluster on this machine"
        raise ClusterError(
            f"{where}: cannot connect: {first_line(error)}. Start the cluster, or unset "
            "RAY_ADDRESS."
        ) from error


def _code() -> dict[str, str]:
    """The environment in which workers on this machine import the same packages as we do.

    Ray itself adds the driver's working directory to their path, and what is installed comes next:
    from another folder, or beside another installed version, they would run other code than ours.
    """
    job = json.loads(os.environ.get(RAY_JOB_CONFIG_JSON_ENV_VAR, "{}")).get("runtime_env") or {}
    if "working_dir" in job or "PYTHONPATH" in job.get("env_vars", {}):
        return {}  # the job brings its code, or says where it is
    if str(ROOT) in (*site.getsitepackages(), site.getusersitepackages()):
        return {}  # in front of the standard library is no place for all that is installed
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys([str(ROOT), *filter(None, before)]))}


def _check_answers(address: str) -> None:
    """Refuse an address that nothing listens on, and Ray Client's, which Ray Train cannot use."""
    if address.startswith("ray://"):
        raise ClusterError(
            f"RAY_ADDRESS = {address}: is Ray Client's, by which no training can be started. Set "
            "the address of the cluster itself (HOST:6379), or use `ray job submit`."
        )
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        return  # "auto" and the like: Ray looks for itself
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except OSError as error:
        raise ClusterError(
            f"RAY_ADDRESS = {address}: does not answer: {error.strerror or error}. Start the "
            "cluster, or unset RAY_ADDRESS."
        ) from error


def disconnect() -> None:
    """Leave the cluster; one that was started here ends."""
    ray.shutdown()


@contextmanager
def connected() -> Iterator[None]:
    """`connect` for a block, and `disconnect` at its end; inside another such block, nothing."""
    if ray.is_initialized():
        yield
        return
    connect()
    try:
        yield
    finally:
        disconnect()


def claim(settings: ClusterConfig) -> Resources:
    """Wait until the cluster has what the run asks for.

    Raises:
        ClusterError: it still has not after `cluster.start_timeout_s`; at once on this machine's
            own cluster.
    """
    # A cluster that was started for this run does not grow.
    grows = bool(os.environ.get("RAY_ADDRESS"))
    try:
        return _claim(settings, settings.start_timeout_s if grows else 0.0)
    finally:
        if grows:
            request_resources(bundles=[])  # from here on, the workers themselves ask for a place


def _claim(settings: ClusterConfig, patience_s: float) -> Resources:
    began, asked_for = time.monotonic(), None
    while True:
        total = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus, cpus = int(total.get("GPU", 0)), int(total.get("CPU", 0))
        shortage = _shortage(settings, gpus, cpus)
        if not shortage:
            use_gpu = settings.device == "gpu" or (settings.device == "auto" and gpus > 0)
            default = gpus if use_gpu else CPU_WORKERS
            _check_storage(settings)
            low, high = settings.min_workers or default, settings.max_workers or default
            return Resources(low, high, use_gpu)
        waited_s = time.monotonic() - began
        if waited_s >= patience_s:
            waited = f" (waited cluster.start_timeout_s = {patience_s:g})" if patience_s else ""
            raise ClusterError(f"{shortage}{waited}.")
        bundles = _wanted(settings)
        labels = _labels(settings, bundles, gpus, cpus, waited_s)
        if labels != asked_for:
            # An autoscaler starts nodes for what is wanted, and nothing is as long as this waits.
            request_resources(bundles=bundles, bundle_label_selectors=labels)
            asked_for = labels
        time.sleep(0.5)


ON_DEMAND = {"ray.io/market-type": "on-demand"}
"""Label of nodes that are not taken away."""


def _labels(
    settings: ClusterConfig, bundles: list[dict[str, float]], gpus: int, cpus: int, waited_s: float
) -> list[dict[str, str]]:
    """Of the nodes for each bundle: any, or after a while on demand for what is missing."""
    there = cpus // settings.cpus_per_worker
    if "GPU" in bundles[0]:
        there = min(there, gpus)
    late = 0 < settings.on_demand_after_s <= waited_s
    return [ON_DEMAND if late and number >= there else {} for number in range(len(bundles))]


def side_by_side(settings: ClusterConfig, resources: Resources) -> int:
    """How many trainings the cluster has room for at a time, at least 1."""
    total = ray.cluster_resources()  # type: ignore[no-untyped-call]
    workers = resources.max_workers
    rooms = [total.get("CPU", 0) / (workers * settings.cpus_per_worker)]
    if resources.use_gpu:
        rooms.append(total.get("GPU", 0) / workers)
    return max(1, int(min(rooms)))


def _wanted(settings: ClusterConfig) -> list[dict[str, float]]:
    """What the fewest workers need, one by one; GPUs, unless CPUs were asked for."""
    use_gpu = settings.device != "cpu"
    worker = {"CPU": float(settings.cpus_per_worker)} | ({"GPU": 1.0} if use_gpu else {})
    return [worker] * (settings.min_workers or (1 if use_gpu else CPU_WORKERS))


def _shortage(settings: ClusterConfig, gpus: int, cpus: int) -> str:
    """Why a cluster with so many GPUs and CPUs does not do, or the empty string."""
    use_gpu = settings.device == "gpu" or (settings.device == "auto" and gpus > 0)
    if use_gpu and not gpus:
        return (
            "cluster.device = 'gpu': the cluster has no GPU. Set cluster.device=cpu, or add nodes "
            "that have one"
        )
    workers = settings.min_workers or (gpus if use_gpu else CPU_WORKERS)
    if use_gpu and workers > gpus:
        return (
            f"cluster.num_workers = {workers}: the cluster has {gpus} GPUs, one a worker. Set at "
            "most that, or add nodes"
        )
    if workers * settings.cpus_per_worker > cpus:
        return (
            f"cluster.num_workers = {workers}: with cluster.cpus_per_worker = "
            f"{settings.cpus_per_worker} that needs {workers * settings.cpus_per_worker} CPUs, and "
            f"the cluster has {cpus}. Set fewer, or add nodes"
        )
    return ""


def _check_storage(settings: ClusterConfig) -> None:
    """Refuse a local checkpoint folder on a cluster of several machines.

    Raises:
        ClusterError: the folder is local and there are more nodes than one.
    """
    alive = [n for n in ray.nodes() if n["Alive"]]  # type: ignore[no-untyped-call]
    machines = {node["NodeManagerHostname"] for node in alive}
    if len(machines) > 1 and "://" not in settings.storage_url:
        raise ClusterError(
            f"cluster.storage_url = {settings.storage_url!r}: a local folder, and the cluster has "
            f"{len(machines)} machines. Set s3://bucket/prefix, which all of them reach."
        )


def nodes(cache_dir: str) -> list[Node]:
    """What each node that can run workers has, with the free space of `cache_dir`.

    Raises:
        ClusterError: a node does not answer.
    """
    alive = [n for n in ray.nodes() if n["Alive"]]  # type: ignore[no-untyped-call]
    asked, own = [], ray.get_runtime_context().get_node_id()
    for node in alive:
        cpus, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
        if cpus:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            look: Any = ray.remote(_look).options(num_cpus=0, scheduling_strategy=there)
            asked.append(
                look.remote(node["NodeName"], cpus, gpus, cache_dir, node["NodeID"] == own)
            )
    try:
        found: list[Node] = ray.get(asked, timeout=ANSWER_S * 6)
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"a node of the cluster does not answer: {type(error).__name__}. See `ray status`."
        ) from error
    return found


def _look(name: str, cpus: int, gpus: int, cache_dir: str, has_driver: bool) -> Node:
    machine, container = psutil.virtual_memory().available, container_memory.free_bytes()
    return Node(
        name=name,
        cpus=cpus,
        gpus=gpus,
        memory_free=machine if container is None else min(machine, container),
        shared_memory_free=_free(Path("/dev/shm")),  # noqa: S108 - batches travel through it
        temporary_free=_free(Path(tempfile.gettempdir())),
        cache_free=_free(Path(cache_dir)),
        has_driver=has_driver,
    )


def _free(folder: Path) -> int:
    """Bytes on the disk of a folder, or of the nearest one above that exists."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def authentication() -> str:
    """What stands between the cluster and anybody who reaches its ports."""
    if os.environ.get("RAY_AUTH_MODE", "token") == "token":
        return "token authentication"
    return "no authentication: whoever reaches the cluster's ports can run code on it"
