"""The learning rate as a function of the step."""

import math

from alexnet.config import OptimConfig

REFERENCE_BATCH_SIZE = 128
"""Batch that `optim.learning_rate` is meant for; Krizhevsky et al. 2012, section 5."""


def learning_rate(
    step: int, steps_per_epoch: int, epochs: int, global_batch_size: int, settings: OptimConfig
) -> float:
    """Rate of update number `step`, from 0.

    Linear in the batch and warmed up as in Goyal et al. 2017, sections 2.1 and 2.2; then a cosine
    to 0 (Loshchilov and Hutter 2017, equation 5, one period) or the paper's steps.
    """
    peak = settings.learning_rate * global_batch_size / REFERENCE_BATCH_SIZE
    warmup_steps = settings.warmup_epochs * steps_per_epoch
    if step + 1 < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if settings.decay == "step":
        drops = sum(step >= epoch * steps_per_epoch for epoch in settings.decay_epochs)
        return float(peak * 0.1**drops)
    falling_steps = max(1.0, epochs * steps_per_epoch - warmup_steps)
    done = min(1.0, max(0.0, (step + 1 - warmup_steps) / falling_steps))
    return peak * (1 + math.cos(math.pi * done)) / 2
