"""Estimates what a training needs before it starts: samples, memory, disk space.

Estimates are rough and say so; they are to find what cannot go well, not to predict what it takes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from alexnet.config import RunConfig
from alexnet.dataset.sample_size import least_difference
from alexnet.loading.epoch_plan import share, steps_and_remainder
from alexnet.loading.prefetch import PARTS_AHEAD

GIB = 2**30

PROCESS_BYTES = 400 * 2**20
"""Of a worker or loader process before it has any data: Python, torch, and Ray or OpenCV."""

STATE_COPIES = 4
"""Of the weights in a worker's memory: themselves, gradients, momentum, and DDP's buckets."""

BYTES_PER_WEIGHT = 4

BESIDE_BYTES = 160 * 2**20
"""Of the driver's node beside its workers and beside what runs while the check looks, which is in
use then: Ray Train's controller, 128 MiB, and what the driver grows by. Ray itself (GCS, raylet,
dashboard, agents, idle workers) took 767 MiB, the driver of a check 662 MiB. Measured 2026-11-27 by
`python -m tests.benchmarks.driver_memory`, as proportional sizes."""

DRIVER_COPIES = 2
"""Of the weights in the driver while it registers, after its workers have ended; the same: with
217 MiB of weights it grew by 409 MiB."""

CHECKPOINT_COPIES = 2
"""Of the weights in a checkpoint: themselves and the momentum."""


class Finding(NamedTuple):
    """What one check has found."""

    level: Literal["ok", "warn", "FAIL", "skip"]
    name: str
    text: str
    """One line; of what is not well, with what to do."""


@dataclass(frozen=True, slots=True)
class Node:
    """What a node has, in bytes."""

    name: str
    cpus: int
    gpus: int
    memory_free: int
    """Of the machine, or of the container's limit if that leaves less."""
    shared_memory_free: int
    temporary_free: int
    """In the folder where checkpoints are put together."""
    cache_free: int
    """Under `data.cache_dir`."""
    has_driver: bool = False


FEW_UPDATES = 5
"""Of an epoch; with fewer, more than a sixth of the images may be left over by each."""

COARSE = 0.1
"""A difference in top-1 that validation should tell at least."""


def line(finding: Finding) -> str:
    """The finding as it is printed."""
    return f"{finding.level:<5} {finding.name:<14} {finding.text}"


def counts(config: RunConfig, max_workers: int, train_shards: int, val_images: int) -> Finding:
    """Whether every worker and loader process has something to do."""
    streams, loaders = config.data.num_streams, max(1, config.data.loader_processes)
    readers = max_workers * loaders
    if streams < max_workers:
        return Finding(
            "FAIL",
            "counts",
            f"data.num_streams = {streams}: {max_workers} workers need one each. Raise it to "
            f"{readers}, a divisor of train.global_batch_size.",
        )
    if streams < readers:
        return Finding(
            "warn",
            "counts",
            f"data.num_streams = {streams}: {max_workers} workers with {loaders} loader processes "
            f"each would use {readers}. Lower data.loader_processes, or raise it for a new run.",
        )
    if val_images < max_workers:
        return Finding(
            "warn",
            "counts",
            f"{val_images} validation images for {max_workers} workers: some have none. Use fewer "
            "workers, or more images.",
        )
    return Finding(
        "ok",
        "counts",
        f"{streams} streams over {train_shards} shards for {max_workers} workers with {loaders} "
        "loader processes each",
    )


def updates(config: RunConfig, train_images: int) -> Finding:
    """Whether an epoch has enough updates."""
    batch = config.train.global_batch_size
    number, left = steps_and_remainder(train_images, batch)
    text = f"{number} update{'s' * (number != 1)} per epoch"
    if number >= FEW_UPDATES:
        return Finding("ok", "updates", text)
    return Finding(
        "warn",
        "updates",
        f"{text}: {train_images} training images in batches of train.global_batch_size = {batch}, "
        f"and each epoch leaves {left} out. Lower it, or add images.",
    )


def validation(val_images: int) -> Finding:
    """Whether there are enough images to tell two models apart."""
    least = least_difference(val_images)
    text = f"{val_images} validation images tell differences in top-1 from {least:.1%} on"
    if least <= COARSE:
        return Finding("ok", "validation", text)
    return Finding("warn", "validation", f"{text}. The gate will see no smaller ones; add images.")


def classes(num_classes: int, missing: Mapping[str, Sequence[str]]) -> Finding:
    """Whether each class has an image in each split.

    Args:
        num_classes: of the data set.
        missing: names of the classes without one, by split.
    """
    found = [
        f"{split}: every image is rejected in {len(names)} of {num_classes} classes, or there was "
        f"none ({', '.join(names[:3])}{', ...' * (len(names) > 3)})"
        for split, names in missing.items()
        if names
    ]
    if not found:
        return Finding("ok", "classes", f"{num_classes} with images in {' and '.join(missing)}")
    advice = "See the data set's report; add images, or leave such a class out."
    return Finding("warn", "classes", f"{'; '.join(found)}. {advice}")


def workers_on(config: RunConfig, node: Node, max_workers: int, *, use_gpu: bool) -> int:
    """The most workers that Ray may put on a node."""
    room = node.gpus if use_gpu else node.cpus // config.cluster.cpus_per_worker
    return min(max_workers, room)


def worker_bytes(config: RunConfig, workers: int, sample_bytes: float, num_weights: int) -> int:
    """Memory of a worker with its loader processes, at most.

    Args:
        config: the run.
        workers: that share the streams; fewer of them hold more each.
        sample_bytes: mean size of an encoded image.
        num_weights: of the network.
    """
    streams = max(len(share(config.data.num_streams, r, workers)) for r in range(workers))
    loaders = config.data.loader_processes
    windows = streams * config.data.window_samples * sample_bytes
    ahead = max(1, loaders) * config.data.read_ahead_mib * 2**20
    state = num_weights * BYTES_PER_WEIGHT * STATE_COPIES
    return int((1 + loaders) * PROCESS_BYTES + windows + ahead + state)


def shared_bytes(config: RunConfig, workers: int) -> int:
    """Shared memory of a worker: the decoded batches that its loader processes have ready."""
    if not config.data.loader_processes:
        return 0
    batch = math.ceil(config.train.global_batch_size / workers)
    return (PARTS_AHEAD + 1) * batch * config.data.image_px**2 * 3


def checkpoint_bytes(num_weights: int) -> int:
    """Size of a checkpoint."""
    return num_weights * BYTES_PER_WEIGHT * CHECKPOINT_COPIES


def memory(config: RunConfig, node: Node, on_node: int, need: int, num_weights: int) -> Finding:
    """Whether a node's memory holds its workers, and beside them the driver if that is there.

    Args:
        config: the run.
        node: what it has.
        on_node: workers that may be put on it.
        need: bytes of a worker, with its batches in shared memory, which is memory too.
        num_weights: of the network.
    """
    total, what = on_node * need, f"for {on_node} workers"
    if node.has_driver:
        # Registering comes after the workers' end.
        total = max(total, num_weights * BYTES_PER_WEIGHT * DRIVER_COPIES) + BESIDE_BYTES
        what += ", the driver and Ray's controller"
    return _fits(
        "memory",
        node.name,
        total,
        node.memory_free,
        what,
        f"Lower data.window_samples = {config.data.window_samples}, data.read_ahead_mib = "
        f"{config.data.read_ahead_mib} or data.loader_processes = {config.data.loader_processes}, "
        "or raise the container's limit.",
    )


def shared_memory(node: Node, on_node: int, need: int) -> Finding:
    """Whether /dev/shm holds the batches of a node's workers."""
    return _fits(
        "shared memory",
        node.name,
        on_node * need,
        node.shared_memory_free,
        f"for the batches of {on_node} workers",
        "Give the container more (--shm-size, or an emptyDir of medium Memory).",
    )


def disks(config: RunConfig, node: Node, num_weights: int) -> list[Finding]:
    """Whether a node's disks hold a checkpoint's copy and the cache."""
    found = [
        _fits(
            "temporary disk",
            node.name,
            checkpoint_bytes(num_weights),
            node.temporary_free,
            "for a checkpoint",
            "Free some, or set TMPDIR.",
        )
    ]
    if config.data.cache_gib:
        found.append(
            _fits(
                "cache disk",
                node.name,
                int(config.data.cache_gib * GIB),
                node.cache_free,
                f"in {config.data.cache_dir}",
                f"Lower data.cache_gib = {config.data.cache_gib:g}, or set data.cache_dir.",
            )
        )
    return found


def _fits(name: str, node: str, need: int, free: int, what: str, advice: str) -> Finding:
    text = f"{node}: {_amount(need)} {what}, {_amount(free)} free"
    if need > free:
        return Finding("FAIL", name, f"{text}. {advice}")
    return Finding("ok", name, text)


def _amount(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.1f} GiB" if num_bytes >= GIB else f"{num_bytes / 2**20:.0f} MiB"
