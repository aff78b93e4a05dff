"""Tiny data sets made on the fly."""

import numpy as np

from alexnet import config, images
from alexnet.shards import Sample

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


def tiny_run(url, **train):
    return config.parse(
        {
            "name": "tiny",
            "model": {"num_classes": NUM_CLASSES, "width": 0.05, "dropout": 0.2},
            "data": {
                "url": url,
                "image_px": SIDE_PX,
                "num_streams": 4,
                "window_samples": 10,
                "loader_processes": 0,
            },
            "optim": {"warmup_epochs": 0},
            "train": {"epochs": 2, "global_batch_size": 12, **train},
        }
    )
