"""What the input side costs a training: `python tests/benchmarks/training.py [CONFIG]`.

One process, no Ray. Three ways in turn, several times: the network alone on one batch in memory,
the stream alone, and both together. Prints medians in images/s, and the share of time that training
waited for data. Without a data set in the configuration, the digits are written to a temporary
folder.
"""

import argparse
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import torch

from alexnet import config_file
from alexnet.adapters.object_store import open_store
from alexnet.dataset import embedded_digits, manifest
from alexnet.loading.data_loader import training_batches
from alexnet.runs.checkpoint_store import Checkpoints
from alexnet.training.loop import Trainer
from alexnet.training.meter import Meter
from pipelines._command import EMBEDDED
from tests.local_worker import LocalWorker


def network_alone(trainer, steps):
    """(images/s, 0) of steps on one batch that is already there."""
    parts = next(training_batches(trainer.train_parts()))
    meter = Meter(trainer.worker.device)
    begun = time.perf_counter()
    for _ in range(steps):
        trainer.update(trainer.network, parts, meter)
    return meter.images / (time.perf_counter() - begun), 0.0


def stream_alone(trainer, steps):
    """(images/s, 1) of reading, decoding and augmenting."""
    batches = training_batches(trainer.train_parts())
    next(batches)  # starts the processes
    begun = time.perf_counter()
    images = sum(len(part.labels) for parts in islice(batches, steps) for part in parts)
    return images / (time.perf_counter() - begun), 1.0


def both(trainer, steps):
    """(images/s, share of waiting) of training as it is."""
    batches = training_batches(trainer.train_parts())
    next(batches)
    meter = Meter(trainer.worker.device)
    begun = time.perf_counter()
    for parts in islice(meter.timed(batches), steps):
        trainer.update(trainer.network, parts, meter)
    elapsed_s = time.perf_counter() - begun
    return meter.images / elapsed_s, meter.wait_s / elapsed_s


WAYS = {"network alone": network_alone, "stream alone": stream_alone, "both": both}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, nargs="?", default=EMBEDDED)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    config = config_file.load(args.config, args.overrides)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(config.data.url or folder)
        if not config.data.url:
            embedded_digits.write(store)
        checkpoints = Checkpoints(open_store(f"{folder}/run"), 1)
        trainer = Trainer(config, manifest.read(store), store, LocalWorker(), checkpoints)
        rows = {name: [] for name in WAYS}
        for _ in range(args.repeats):
            for name, way in WAYS.items():
                rows[name].append(way(trainer, args.steps))
    print(f"{torch.get_num_threads()} threads, {config.data.loader_processes} loader processes")
    print("| way | images/s | waiting for data |\n|---|---:|---:|")
    for name, results in rows.items():
        speed, wait = (statistics.median(values) for values in zip(*results, strict=True))
        print(f"| {name} | {speed:.0f} | {wait:.3f} |")


if __name__ == "__main__":
    main()
