"""The loop learns, evaluates exactly, and goes on as if it had never stopped."""

import dataclasses
import math

import pytest
import torch

from alexnet.errors import CheckpointError
from alexnet.loop import Meter, Trainer
from alexnet.stream import training_batches
from alexnet.worker import LocalWorker
from tests.tiny_data import NUM_CLASSES, NUM_VAL, tiny_run


class Killed(Exception):
    pass


class DiesAfter(LocalWorker):
    """A worker that is killed at its n-th checkpoint, after that is kept."""

    def __init__(self, folder, reports):
        super().__init__(folder)
        self.left = reports

    def report(self, metrics, folder):
        super().report(metrics, folder)
        self.left -= 1
        if not self.left:
            raise Killed


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])


def test_a_run_learns_three_colours_and_reports_it(tiny, tiny_url):
    config = tiny_run(tiny_url, epochs=8)
    worker = LocalWorker()
    counts = Trainer(config, tiny[1], tiny[0], worker).run()
    assert counts.images == NUM_VAL
    assert counts.rates()["top1"] > 0.9
    evaluated = [event for event in worker.events if event.kind == "evaluated"]
    assert len(evaluated) == 8
    assert evaluated[-1].metrics["val/top1"] == counts.rates()["top1"]


def test_the_first_loss_is_that_of_a_guess(tiny, tiny_config):
    worker = LocalWorker()
    Trainer(tiny_config, tiny[1], tiny[0], worker).run()
    first = next(event for event in worker.events if event.kind == "progress")
    assert first.metrics["train/loss"] == pytest.approx(math.log(NUM_CLASSES), abs=0.1)


@pytest.mark.parametrize("reports", [1, 2, 3, 4])
def test_a_run_killed_at_a_checkpoint_ends_with_the_same_bits(tiny, tiny_url, tmp_path, reports):
    config = tiny_run(tiny_url, checkpoint_every_steps=3)
    undisturbed = Trainer(config, tiny[1], tiny[0], LocalWorker())
    undisturbed.run()
    with pytest.raises(Killed):
        Trainer(config, tiny[1], tiny[0], DiesAfter(tmp_path, reports)).run()
    resumed = Trainer(config, tiny[1], tiny[0], LocalWorker(tmp_path))
    resumed.run()
    assert resumed.step == undisturbed.step
    assert torch.equal(weights(resumed), weights(undisturbed))


def test_a_finished_run_has_nothing_left_to_do(tiny, tiny_config, tmp_path):
    Trainer(tiny_config, tiny[1], tiny[0], LocalWorker(tmp_path)).run()
    assert Trainer(tiny_config, tiny[1], tiny[0], LocalWorker(tmp_path)).run() is None


def test_a_checkpoint_of_another_configuration_is_refused(tiny, tiny_config, tiny_url, tmp_path):
    Trainer(tiny_config, tiny[1], tiny[0], LocalWorker(tmp_path)).run()
    with pytest.raises(CheckpointError, match="its configuration .* is not this run's"):
        Trainer(tiny_run(tiny_url, seed=1), tiny[1], tiny[0], LocalWorker(tmp_path)).run()


def test_a_checkpoint_of_other_data_is_refused(tiny, tiny_config, tmp_path):
    store, manifest = tiny
    Trainer(tiny_config, manifest, store, LocalWorker(tmp_path)).run()
    other = dataclasses.replace(manifest, digest="0" * 64)
    with pytest.raises(CheckpointError, match="its data set .* is not this run's"):
        Trainer(tiny_config, other, store, LocalWorker(tmp_path)).run()


def test_gradients_of_unequal_shares_average_to_those_of_the_whole_batch(tiny, tiny_url):
    # Dropout is off: its draws differ between ranks by design.
    config = tiny_run(tiny_url)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, dropout=0.0))

    def gradients(rank, world_size):
        worker = LocalWorker(rank=rank, world_size=world_size)
        trainer = Trainer(config, tiny[1], tiny[0], worker)
        kept = []
        trainer.optimizer.step = lambda: kept.extend(
            p.grad.clone() for p in trainer.network.parameters()
        )
        parts = next(training_batches(trainer.train_parts()))
        trainer.update(trainer.network, parts, Meter(worker.device))
        return torch.cat([g.flatten() for g in kept])

    whole = gradients(0, 1)
    ranks = torch.stack([gradients(rank, 3) for rank in range(3)])  # 4 streams over 3: 1, 1, 2
    assert torch.allclose(ranks.mean(0), whole, atol=1e-6)
