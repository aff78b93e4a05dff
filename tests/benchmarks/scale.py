"""What planning costs at a billion samples: `python tests/benchmarks/scale.py [SHARDS]`.

Writes the manifest and tables of a data set of so many shards of 1,000 samples (no tars), and in a
process of its own opens them and plans the first window of a stream. Prints the time, without
starting Python and its imports, and the peak of resident memory, with them.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from alexnet.adapters.object_store.local import LocalStore
from alexnet.dataset import manifest
from alexnet.dataset.manifest import Colour, Shard
from alexnet.loading.epoch_plan import EpochPlan

SAMPLES_PER_SHARD = 1000


def write(folder, num_shards):
    digest = bytes(range(32))
    shards = [
        Shard(name=f"train-{i:06d}.tar", num_samples=SAMPLES_PER_SHARD, index_sha256=digest)
        for i in range(num_shards)
    ]
    colour = Colour(mean=(0.5,) * 3, std=(0.2,) * 3, axes=((0.1, 0.0, 0.0),) * 3)
    manifest.publish(
        LocalStore(folder), manifest.draft("large", ["a", "b"], colour, {"train": shards})
    )


def open_and_plan(folder):
    """What a loader process does before its first read."""
    begun = time.perf_counter()
    split = manifest.read(LocalStore(folder)).split("train")
    opened = time.perf_counter()
    plan = EpochPlan(
        split.sizes, seed=0, epoch=3, num_streams=512, window_samples=1024, global_batch_size=4096
    )
    window = next(plan.windows(511, plan.stream_samples // 2))
    done = time.perf_counter()
    # Not getrusage: its peak begins with that of the process that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak_mib = int(status["VmHWM"].split()[0]) / 1024
    print(f"{plan.num_samples} samples in {len(split)} shards, window of {len(window.order)}")
    print(f"open {opened - begun:.3f} s, plan {done - opened:.3f} s, peak {peak_mib:.0f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=int, nargs="?", default=10**6)
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.open:
        open_and_plan(str(args.open))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(folder, args.shards)
        for _ in range(3):
            subprocess.run([sys.executable, __file__, "--open", folder], check=True)


if __name__ == "__main__":
    main()
