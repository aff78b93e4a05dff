"""Memory of a loader process by data set size: `python tests/benchmarks/loader_memory.py URL`.

Takes the first training shard of a real data set and lists it 100, 10,000 and 1,000,000 times in
new manifests. A process of its own then makes a loader's part of the same number of steps from
each: it plans, reads ahead, decodes and augments. Prints the peak of its resident memory.
"""

import argparse
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

from alexnet import config_file
from alexnet.adapters.object_store import open_store
from alexnet.adapters.object_store.local import LocalStore
from alexnet.dataset import manifest
from alexnet.dataset.manifest import Shard
from alexnet.loading.samples import TrainParts

CONFIG = Path("pipelines/configs/imagenet.toml")
STEPS = 100


class Repeated:
    """A folder of manifests, every shard of which is one shard of another store."""

    def __init__(self, folder, store, shard):
        self.folder, self.store, self.shard, self.url = folder, store, shard, folder.url

    def read(self, name, offset=0, length=None):
        if name.endswith(".index.npy"):
            return self.store.read(self.shard.index)
        return self.folder.read(name, offset, length)

    def open(self, name, **known):
        return self.store.open(self.shard.name, **known)


def write(folder, count, url):
    known = manifest.read(open_store(url))
    first = known.split("train")[0]
    shards = [
        Shard(
            name=f"train-{i:06d}.tar",
            num_samples=first.num_samples,
            index_sha256=first.index_sha256,
        )
        for i in range(count)
    ]
    manifest.publish(
        LocalStore(folder), manifest.draft("large", known.classes, known.colour, {"train": shards})
    )


def load(folder, url):
    store = open_store(url)
    repeated = Repeated(LocalStore(folder), store, manifest.read(store).split("train")[0])
    config = config_file.load(CONFIG, ["data.image_px=64", "data.max_bad_share=0"])
    parts = TrainParts(
        store=repeated,
        manifest=manifest.read(repeated),
        data=config.data,
        augment=config.augment,
        train=config.train,
        rank=0,
        world_size=8,
        start_step=0,
    )
    images = sum(len(batch.labels) for batch in islice(parts.parts(0, 8), STEPS))
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak_mib = int(status["VmHWM"].split()[0]) / 1024
    split = parts.manifest.split("train")
    print(
        f"{split.num_samples} samples in {len(split)} shards: {images} images of {STEPS} steps, "
        f"peak {peak_mib:.0f} MiB"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--shards", type=int, nargs="*", default=[100, 10**4, 10**6])
    parser.add_argument("--load", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load:
        load(args.load, args.url)
        return
    for count in args.shards:
        with tempfile.TemporaryDirectory() as folder:
            write(folder, count, args.url)
            for _ in range(3):
                command = [sys.executable, __file__, args.url, "--load", folder]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
