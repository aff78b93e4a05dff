"""How busy a node is: what its processors, memory, network and GPUs are doing."""

import shutil
from pathlib import Path

import psutil
import torch


def sample(node: str) -> dict[str, float]:
    """Under the names that MLflow shows as system metrics, `system/<node>/...`.

    Shares are percentages, in [0, 100]; network counters are MB since the node started. The first
    call in a process has nothing to compare the processors' time with, and says 0 for them.
    """
    memory, network = psutil.virtual_memory(), psutil.net_io_counters()
    shared = Path("/dev/shm")  # noqa: S108 - batches travel through it
    found = {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_percentage": memory.percent,
        "network_receive_megabytes": network.bytes_recv / 1e6,
        "network_transmit_megabytes": network.bytes_sent / 1e6,
    }
    if shared.is_dir():
        usage = shutil.disk_usage(shared)
        found["shared_memory_usage_percentage"] = 100 * usage.used / max(1, usage.total)
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found[f"gpu_{index}_memory_usage_percentage"] = 100 * (total - free) / total
    return {f"system/{node}/{name}": float(value) for name, value in found.items()}
