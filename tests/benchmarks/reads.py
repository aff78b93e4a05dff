"""What an epoch reads: `python tests/benchmarks/reads.py URL [--set data.num_streams=...]`.

Goes through the epoch of every loader process of every worker, one after another, without decoding.
Prints how many reads that are (GETs, from S3), and how many bytes for each byte of the data set.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alexnet import config_file
from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest
from alexnet.dataset.shard_reader import ShardReader
from alexnet.loading.epoch_plan import EpochPlan, share
from alexnet.loading.prefetch import ReadAhead
from tests.counting_store import CountingStore

CONFIG = Path("pipelines/configs/imagenet.toml")


def epoch(store, split, config, streams):
    """One loader process's epoch."""
    plan = EpochPlan(
        split.sizes,
        seed=config.train.seed,
        epoch=0,
        num_streams=config.data.num_streams,
        window_samples=config.data.window_samples,
        global_batch_size=config.train.global_batch_size,
    )
    with ThreadPoolExecutor(8) as threads:
        windows = [plan.windows(stream) for stream in streams]
        reader = ShardReader(store, split)
        ahead = ReadAhead(reader, windows, threads, config.data.read_ahead_mib * 2**20)
        for position in range(plan.steps * plan.per_step):
            for stream in range(len(streams)):
                ahead.take(stream, 0, position)
            ahead.pump()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    args = parser.parse_args()
    config = config_file.load(CONFIG, args.overrides)
    folder, name = manifest.locate(args.url)
    store = open_store(folder)
    split = manifest.read(store, name).split("train")
    size = sum(manifest.read_index(store, shard).tar_bytes for shard in split)
    counting = CountingStore(store)
    for rank in range(args.workers):
        mine = share(config.data.num_streams, rank, args.workers)
        for loader in range(config.data.loader_processes):
            streams = [mine[i] for i in share(len(mine), loader, config.data.loader_processes)]
            epoch(counting, split, config, streams)
    print(f"{split.num_samples} samples in {len(split)} shards, {size / 1e6:.1f} MB")
    print(f"{counting.reads} reads, {counting.num_bytes / size:.4f} of the bytes")


if __name__ == "__main__":
    main()
