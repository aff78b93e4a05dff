"""Utilization of a node: CPU, memory, network, GPUs."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import torch


def of_node(node: str) -> dict[str, float]:
    """Under the names that MLflow shows as system metrics, `system/<node>/...`.

    Shares are percentages, in [0, 100]; network counters are MB since the node started. The first
    call in a process has nothing to compare the processors' time with, and says 0 for them.
    """
    return _named(node, _processors, _memory, _network, _shared_memory)


def of_gpu(node: str, index: int) -> dict[str, float]:
    """Of the GPU that this process has, which is the `index`-th of its node's."""
    if not torch.cuda.is_available():
        return {}
    return _named(node, lambda: _gpu(index))


def _named(node: str, *measures: Callable[[], dict[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for measure in measures:
        # What a container hides is left out; to know how busy a node is must not stop training.
        with contextlib.suppress(OSError, RuntimeError, AttributeError, psutil.Error):
            found |= measure()
    return {f"system/{node}/{name}": float(value) for name, value in found.items()}


def _processors() -> dict[str, float]:
    return {"cpu_utilization_percentage": psutil.cpu_percent()}


def _memory() -> dict[str, float]:
    return {"system_memory_usage_percentage": psutil.virtual_memory().percent}


def _network() -> dict[str, float]:
    counters = psutil.net_io_counters()  # None without an interface: AttributeError
    return {
        "network_receive_megabytes": counters.bytes_recv / 1e6,
        "network_transmit_megabytes": counters.bytes_sent / 1e6,
    }


def _shared_memory() -> dict[str, float]:
    usage = shutil.disk_usage(Path("/dev/shm"))  # noqa: S108 - batches travel through it
    return {"shared_memory_usage_percentage": 100 * usage.used / max(1, usage.total)}


def _gpu(index: int) -> dict[str, float]:
    # Of the current device: asking about another would take memory on that.
    free, total = torch.cuda.mem_get_info()
    return {f"gpu_{index}_memory_usage_percentage": 100 * (total - free) / total}
