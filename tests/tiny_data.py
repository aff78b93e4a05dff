"""Tiny data sets made on the fly, and runs on them."""

import dataclasses

import numpy as np
import torch

from alexnet import config_file, images
from alexnet.adapters.object_store import open_store
from alexnet.config import NameConfig
from alexnet.dataset import manifest
from alexnet.dataset.shard_writer import Sample
from alexnet.loading.batch import join
from alexnet.loading.data_loader import training_batches
from alexnet.loading.samples import TrainParts
from alexnet.runs import run_record
from alexnet.runs.checkpoint_store import Checkpoints
from alexnet.training.loop import Trainer
from tests.local_worker import LocalWorker

NUM_TRAIN, NUM_VAL, NUM_CLASSES = 103, 29, 3  # primes: nothing divides them
SIDE_PX = 64


def colour_samples(split, number):
    """Images of one colour a class, with noise, so that they can be told apart and learnt."""
    rng = np.random.default_rng(number)
    for i in range(number):
        label = i % NUM_CLASSES
        image = rng.integers(0, 80, (SIDE_PX, SIDE_PX, 3))
        image[:, :, label] += 150
        yield Sample(f"{split}{i:05d}", label, images.encode_jpeg(image.astype(np.uint8)))


def pictures(count, seed=0):
    """Image files of noise."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield images.encode_jpeg(rng.integers(0, 256, (70, 80, 3), dtype=np.uint8))


VAL_IMAGES = [sample.jpeg for sample in colour_samples("val", 8)]
"""Image files like those of the validation split."""


def tiny_run(url, data=None, **train):
    return config_file.parse(
        {
            "name": "tiny",
            "model": {"num_classes": NUM_CLASSES, "width": 0.05, "dropout": 0.2},
            "data": {
                "url": url,
                "image_px": SIDE_PX,
                "num_streams": 4,
                "window_samples": 10,
                "loader_processes": 0,
                **(data or {}),
            },
            "optim": {"warmup_epochs": 0},
            "train": {"epochs": 2, "global_batch_size": 12, **train},
        }
    )


def spoil(folder, sample_ids):
    """Alter the training images with these ids where they lie; the indexes stay."""
    store = open_store(str(folder))
    split = manifest.read(store).split("train")
    entries = [
        (shard.name, row) for shard in split for row in manifest.read_index(store, shard).samples
    ]
    for sample_id in sample_ids:
        name, row = entries[sample_id]
        with (folder / name).open("r+b") as tar:
            tar.seek(int(row["offset"]) + int(row["length"]) // 2)
            byte = tar.read(1)[0]
            tar.seek(-1, 1)
            tar.write(bytes([byte ^ 1]))


def train_parts(store, manifest, config, *, rank=0, world_size=1, start_step=0):
    """What a worker of a run reads."""
    return TrainParts(
        store=store,
        manifest=manifest,
        data=config.data,
        augment=config.augment,
        train=config.train,
        rank=rank,
        world_size=world_size,
        start_step=start_step,
    )


def batches(parts):
    """All that a worker trains on."""
    return [join(group, torch.device("cpu")) for group in training_batches(parts)]


def same(one, two):
    """Whether two batches are, to the pixel."""
    pairs = zip(one[:3], two[:3], strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and one.skipped == two.skipped


class StopsAt(LocalWorker):
    """A worker that is asked to stop after so many steps."""

    def __init__(self, steps):
        super().__init__()
        self.steps_left = steps

    def stop_requested(self):
        self.steps_left -= 1
        return self.steps_left == 0


def new_record(config, manifest, name):
    """The record of a run that begins."""
    config = dataclasses.replace(config, run=NameConfig(name=name))
    record, _ = run_record.find(config, manifest, config.data.url, "abc", nowhere)
    return record


def nowhere(name):
    """A store without files."""
    return open_store(f"/nonexistent/{name}")


def train_alone(config, manifest, store, folder, worker=None):
    """Train in this process, with checkpoints in a folder; the trainer and why it ended."""
    checkpoints = Checkpoints(open_store(str(folder)), 3)
    trainer = Trainer(config, manifest, store, worker or LocalWorker(), checkpoints)
    return trainer, trainer.run()
