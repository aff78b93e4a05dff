"""What the driver and Ray's own processes take beside a training's workers, by proportional size.

    python -m tests.benchmarks.driver_memory

On a cluster of one node: what runs before any command, what `--check` adds, and the most that is
taken at once while a tiny and a full-size network are trained and registered.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from alexnet.adapters.object_store import open_store
from alexnet.dataset import shard_writer
from infra import servers
from infra.processes import environment
from tests.commands import ROOT, TINY
from tests.tiny_data import NUM_TRAIN, NUM_VAL, colour_samples

FULL_SIZE = ["model.width=1.0", "data.image_px=224", "train.epochs=1"]
WORKERS = ("RayTrainWorker", "ray::")
"""Those of the training, under whatever name Ray shows them, and those that wait for work."""

ROLES = ("gcs_server", "raylet", "dashboard", "RayTrainWorker", "Controller", "ray::", "train.py")


def role(process):
    line = " ".join(process.cmdline())
    return next((each for each in ROLES if each in line.split(" --")[0]), "other")


def sizes():
    """MiB by role, of all that this process has started."""
    found = Counter()
    for process in psutil.Process().children(recursive=True):
        try:
            found[process.pid] = (role(process), process.memory_full_info().pss / 2**20)
        except psutil.Error:
            continue
    total = Counter()
    for name, mib in found.values():
        total[name] += mib
    return total


def most(command, env):
    """Sizes when all but the workers took most, and the most of each, while a command runs."""
    worst, each = Counter(), Counter()
    with subprocess.Popen(command, env=env, cwd=ROOT, stdout=sys.stderr) as process:
        while process.poll() is None:
            now = sizes()
            each |= now
            if beside(now) > beside(worst):
                worst = now
            time.sleep(0.2)
    if process.returncode:
        sys.exit(f"{command}: exit status {process.returncode}")
    return worst, each


def beside(found):
    return found.total() - sum(found[name] for name in WORKERS)


def show(title, found):
    parts = ", ".join(f"{name} {mib:.0f}" for name, mib in sorted(found.items()))
    print(f"{title}: {beside(found):.0f} MiB beside the workers ({parts})", flush=True)


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        url, file = f"{folder}/data", folder / "tiny.toml"
        counts = {"train": NUM_TRAIN, "val": NUM_VAL}
        splits = {name: colour_samples(name, count) for name, count in counts.items()}
        shard_writer.write_dataset(open_store(url), "tiny", ["red", "green", "blue"], splits, 20)
        file.write_text(TINY.format(url=url, storage=f"{folder}/runs"))
        with servers.ray_head(folder, {}) as head:
            time.sleep(10)  # until its processes have done what they do at their start
            show("before", sizes())
            found = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
            found |= {"RAY_ADDRESS": head.gcs_address, "RAY_AUTH_MODE": "disabled"}
            env = environment({**os.environ, **found}, servers.LOOPBACK_ONLY)
            command = [sys.executable, "pipelines/train.py", str(file)]
            full = [f"--set={each}" for each in FULL_SIZE]
            for title, more in (("check", ["--check"]), ("tiny", []), ("full size", full)):
                worst, each = most([*command, *more], env)
                show(f"{title}, at most", worst)
                show(f"{title}, each at its most", each)


if __name__ == "__main__":
    main()
