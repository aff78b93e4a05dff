"""What only a GPU shows: `PYTHONPATH=. python tests/benchmarks/device.py DATA [--device cuda]`.

One process, no Ray and no MLflow. First the digits: trained twice, and stopped and resumed, for the
bits. Then the whole network with 1000 classes on the photographs in DATA: medians in images/s of
the step alone with its batch on the device and in pinned memory, of the loader alone, and of
training from it; and how long the loop stands still for a checkpoint.
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import torch

from alexnet import config_file
from alexnet.adapters.object_store import open_store
from alexnet.dataset import embedded_digits, manifest
from alexnet.loading.batch import join
from alexnet.loading.data_loader import training_batches
from alexnet.runs.checkpoint_store import Checkpoints
from alexnet.training.loop import Trainer
from alexnet.training.meter import Meter
from pipelines._command import EMBEDDED
from tests.local_worker import LocalWorker

STOP_AT = 150
"""The step after which the digits are stopped; in the middle of an epoch."""


class Stopping(LocalWorker):
    """Is asked to stop once."""

    steps_left = 0

    def stop_requested(self):
        self.steps_left -= 1
        return self.steps_left == 0


def trainer(config, url, run_url, worker):
    store = open_store(url)
    return Trainer(config, manifest.read(store), store, worker, Checkpoints(open_store(run_url), 1))


def digits(device, url, run_url, stop_at=0):
    """(digest of the weights, first losses, validation top-1, seconds) of the embedded run."""
    worker = Stopping(device)
    worker.steps_left = stop_at
    config = config_file.load(EMBEDDED, ["train.log_every_steps=1"])
    made = trainer(config, url, run_url, worker)
    begun = time.perf_counter()
    made.run()
    seconds = time.perf_counter() - begun
    sha256 = hashlib.sha256()
    for tensor in made.network.state_dict().values():
        sha256.update(tensor.cpu().numpy().tobytes())
    losses = [event.metrics["train/loss"] for event in worker.events if event.kind == "progress"]
    top1 = [event.metrics["val/top1"] for event in worker.events if event.kind == "evaluated"]
    return sha256.hexdigest(), losses[:4], top1[-1:], seconds


def bits(device, folder):
    """Print whether the digits end with the same bits twice, and after a stop."""
    url = f"{folder}/digits"
    embedded_digits.write(open_store(url))
    first, losses, top1, seconds = digits(device, url, f"{folder}/first")
    again, *_ = digits(device, url, f"{folder}/again")
    digits(device, url, f"{folder}/stopped", STOP_AT)
    resumed, *_ = digits(device, url, f"{folder}/stopped")
    print(f"digits: first losses {losses}, top-1 {top1}, {seconds:.1f} s")
    print(f"the same bits: twice {first == again}, stopped and resumed {first == resumed}")


def speeds(device, url, folder, batch, steps):
    """Print images/s of the parts of a training and of the whole."""
    tree = {
        "model": {"num_classes": 1000},
        "data": {"url": url, "loader_processes": 15, "num_streams": 64, "window_samples": 32},
        "optim": {"learning_rate": 1e-4},  # one batch again and again must not diverge
        "train": {"epochs": 10_000, "global_batch_size": batch},
    }
    made = trainer(config_file.parse(tree), url, f"{folder}/{batch}", LocalWorker(device))
    batches = training_batches(made.train_parts(), pin_memory=device.type == "cuda")
    parts, meter = next(batches), Meter(device)

    def per_second(groups):
        synchronize(device)
        begun = time.perf_counter()
        for group in groups:
            made.update(made.network, group, meter)
        synchronize(device)
        return batch * steps / (time.perf_counter() - begun)

    for name, group in (("on the device", [join(parts, device)]), ("in pinned memory", parts)):
        per_second([group] * 5)
        found = statistics.median(per_second([group] * steps) for _ in range(3))
        print(f"batch {batch} {name}: {found:.0f} images/s")
    begun = time.perf_counter()
    for _ in islice(batches, steps):
        pass
    print(
        f"batch {batch} loader alone: {batch * steps / (time.perf_counter() - begun):.0f} images/s"
    )
    meter.wait_s = 0.0
    found = per_second(meter.timed(islice(batches, steps)))
    waited = meter.wait_s * found / batch / steps
    print(f"batch {batch} training: {found:.0f} images/s, waiting {waited:.2f}")
    return made


def pause(made, device):
    """Print how long the loop stands still for a checkpoint."""
    found = []
    for _ in range(3):
        synchronize(device)
        begun = time.perf_counter()
        made._checkpoint(None)
        found.append(time.perf_counter() - begun)
        made.saver.settle()
    print("checkpoint, the loop stands still:", *(f"{seconds * 1000:.0f} ms" for seconds in found))


def synchronize(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder or URL of a data set of photographs")
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bits(args.device, Path(folder))
        for batch in args.batches:
            made = speeds(args.device, args.data, folder, batch, args.steps)
        pause(made, args.device)


if __name__ == "__main__":
    main()
