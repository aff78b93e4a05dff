"""What an epoch asks of S3 on 64 GPUs: `python tests/benchmarks/requests.py`.

Goes through the plan of every loader process, with images of one size, and counts the ranged reads
and the index files; reads nothing. Of the large data set one loader process in 16 is counted.
"""

import numpy as np

from alexnet.dataset.shard_reader import PIECE_BYTES
from alexnet.loading.epoch_plan import EpochPlan, share

WORKERS, LOADERS, STREAMS, WINDOW, BATCH = 64, 8, 512, 1024, 16384
PER_SHARD = 1000
OVERHEAD_BYTES = 1536
"""Of a sample in a tar beside the image: two headers and the label's block."""


def count(num_shards, image_bytes, every):
    plan = EpochPlan(
        np.full(num_shards, PER_SHARD),
        seed=0,
        epoch=0,
        num_streams=STREAMS,
        window_samples=WINDOW,
        global_batch_size=BATCH,
    )
    sample_bytes = image_bytes + OVERHEAD_BYTES
    per_piece = PIECE_BYTES // sample_bytes
    reads = indexes = num_bytes = samples = 0
    for rank in range(0, WORKERS, every):
        mine = share(STREAMS, rank, WORKERS)
        for loader in range(LOADERS):
            opened = set()
            for stream in (mine[i] for i in share(len(mine), loader, LOADERS)):
                for window in plan.windows(stream):
                    for run in window.runs:
                        reads += -(-run.num_samples // per_piece)
                        opened.add(run.shard)
                        samples += run.num_samples
                        num_bytes += run.num_samples * sample_bytes
            indexes += len(opened)
    share_counted = samples / plan.num_samples
    return [round(each / share_counted) for each in (reads, indexes, num_bytes)]


def main():
    print("images, bytes each: ranged reads, index reads, bytes an epoch")
    for num_shards, every in ((1281, 1), (128_100, 16)):
        for image_bytes in (110_000, 23_000):
            reads, indexes, num_bytes = count(num_shards, image_bytes, every)
            index_bytes = indexes * (20 * PER_SHARD + 200)
            print(
                f"{num_shards * PER_SHARD:,}, {image_bytes:,}: {reads:,} reads, {indexes:,} "
                f"indexes ({index_bytes / num_bytes:.5f} of the bytes), {num_bytes / 1e9:,.0f} GB"
            )


if __name__ == "__main__":
    main()
