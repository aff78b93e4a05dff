"""The loop learns, evaluates exactly, stops cleanly, and goes on as if it had never stopped."""

import dataclasses
import math
from itertools import islice

import pytest
import torch

from alexnet.adapters.object_store import open_store
from alexnet.errors import CheckpointError, DivergedError, StoreError
from alexnet.loading.data_loader import training_batches
from alexnet.runs.checkpoint_store import Checkpoints
from alexnet.telemetry import event_journal
from alexnet.training.coordination import Control
from alexnet.training.loop import Trainer
from alexnet.training.meter import Meter
from tests.local_worker import LocalWorker
from tests.tiny_data import NUM_CLASSES, StopsAt, tiny_run, train_alone

STEPS = 2 * (103 // 12)


@pytest.fixture
def train(tiny, tiny_config, tmp_path):
    """Train in a folder; the trainer afterwards."""

    def train(config=tiny_config, folder="run", worker=None, manifest=tiny[1]):
        trainer, end = train_alone(config, manifest, tiny[0], tmp_path / folder, worker)
        trainer.end = end
        return trainer

    return train


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])


@pytest.mark.slow
def test_a_run_learns_three_colours_and_reports_it(train, tiny_url):
    worker = LocalWorker()
    trainer = train(tiny_run(tiny_url, epochs=8), worker=worker)
    evaluated = [event for event in worker.events if event.kind == "evaluated"]
    assert trainer.end == "done"
    assert len(evaluated) == 8
    assert evaluated[-1].metrics["val/top1"] > 0.9
    assert trainer.checkpoints.best_first()[0].metrics["top1"] == max(
        event.metrics["val/top1"] for event in evaluated
    )


def test_the_first_loss_is_that_of_a_guess(train):
    worker = LocalWorker()
    train(worker=worker)
    first = next(event for event in worker.events if event.kind == "progress")
    assert first.metrics["train/loss"] == pytest.approx(math.log(NUM_CLASSES), abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 5, 8, 9, 15])
def test_a_run_stopped_at_any_step_goes_on_from_it_to_the_same_bits(train, steps):
    undisturbed = train(folder="undisturbed")
    stopped = train(worker=StopsAt(steps))
    assert stopped.end == "stopped"
    assert stopped.checkpoints.steps()[-1] == stopped.step == steps
    worker = LocalWorker()
    resumed = train(worker=worker)
    assert worker.events[0].step == steps
    assert resumed.step == undisturbed.step == STEPS
    assert torch.equal(weights(resumed), weights(undisturbed))


class Preempted(LocalWorker):
    """Its node is about to be taken away, from some step on."""

    def __init__(self, step):
        super().__init__()
        self.steps_left = step

    def preempted(self):
        self.steps_left -= 1
        return self.steps_left <= 0


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 5, 8])
def test_before_its_node_is_taken_away_a_run_leaves_a_checkpoint_and_goes_on_from_it(
    train, monkeypatch, step
):
    monkeypatch.setattr("alexnet.training.coordination.POLL_S", 0)
    undisturbed = train(folder="undisturbed")
    preempted = train(worker=Preempted(step))
    assert preempted.end == "preempted"
    assert preempted.checkpoints.steps()[-1] == preempted.step == step
    resumed = train()
    assert (resumed.end, resumed.step) == ("done", STEPS)
    assert torch.equal(weights(resumed), weights(undisturbed))


def test_the_journal_has_every_event_up_to_the_last_checkpoint_in_order(train):
    first, second = StopsAt(5), LocalWorker()
    train(worker=first)
    trainer = train(worker=second)
    told = [e for e in [*first.events, *second.events] if e.kind != "ended"]
    assert list(event_journal.read(trainer.checkpoints.store)) == told
    assert told[-1].step == STEPS


def test_without_an_interval_a_checkpoint_follows_the_one_before(train, tiny_url):
    config = tiny_run(tiny_url, checkpoint_every_s=0)
    kept = dataclasses.replace(config.cluster, checkpoints_kept=100)
    trainer = train(dataclasses.replace(config, cluster=kept))
    assert len(trainer.checkpoints.steps()) > 2  # more than the ends of the epochs


def test_a_full_disk_stops_the_run_at_once_and_keeps_what_is_there(train, tmp_path):
    small = tmp_path / "run" / "step-00000016"
    small.parent.mkdir()
    small.symlink_to("/dev/full")
    with pytest.raises(StoreError, match="step-00000016"):
        train()
    checkpoints = Checkpoints(open_store(str(tmp_path / "run")), 3)
    assert checkpoints.steps() == [8]
    assert checkpoints.newest(lambda meta, where: None, print)[0].step == 8


def test_a_finished_run_has_nothing_left_to_do(train):
    first = train()
    again = train()
    assert again.end == "done"
    assert torch.equal(weights(first), weights(again))


def test_a_checkpoint_of_another_configuration_is_refused_with_the_difference(train, tiny_url):
    train()
    with pytest.raises(CheckpointError, match=r"of another run: train.seed = 0 there, 1 here"):
        train(tiny_run(tiny_url, seed=1))


def test_what_does_not_decide_the_weights_may_change_between_restarts(train, tiny_url):
    stopped = train(worker=StopsAt(5))
    resumed = train(tiny_run(tiny_url, {"read_ahead_mib": 0}, log_every_steps=1))
    assert stopped.step < resumed.step == STEPS


def test_a_checkpoint_of_other_data_is_refused(train, tiny):
    train()
    other = dataclasses.replace(tiny[1], digest="0" * 64)
    with pytest.raises(CheckpointError, match="manifest = '[0-9a-f]{12}' there, '000000000000'"):
        train(manifest=other)


class Infinite(torch.nn.Module):
    """A network whose losses for some images are not finite."""

    def __init__(self, network, bad):
        super().__init__()
        self.network, self.bad = network, bad

    def forward(self, images):
        logits = self.network(images)
        return torch.where(self.bad[:, None], float("inf"), logits)


class Breaks(LocalWorker):
    """The losses of two images of each step from some step on are infinite."""

    def __init__(self, step):
        super().__init__()
        self.step = step
        self.steps = 0

    def wrap(self, model):
        def forward(images):
            self.steps += 1
            bad = torch.zeros(len(images), dtype=torch.bool)
            bad[[2, 7]] = self.steps > self.step
            return Infinite(model, bad)(images)

        return forward


def test_a_loss_that_is_not_finite_stops_the_run_before_a_checkpoint_and_names_images(
    train, tiny, tiny_url, tmp_path
):
    config = tiny_run(tiny_url, log_every_steps=1000)
    with pytest.raises(DivergedError) as caught:
        train(config, worker=Breaks(step=10))
    checkpoints = Checkpoints(open_store(str(tmp_path / "run")), 3)
    assert checkpoints.steps() == [8]  # the epoch before; not 16, at the end of which it was seen

    trainer = Trainer(config, tiny[1], tiny[0], LocalWorker(), checkpoints)
    ((batch,),) = islice(training_batches(trainer.train_parts()), 10, 11)
    ids = sorted(batch.ids[[2, 7]].tolist())
    names = ", ".join(f"train-{i // 20:06d}.tar: " for i in ids)
    assert str(caught.value).startswith("step 11: the loss is not finite, on 2 of its images: ")
    for i, name in zip(ids, names.split(", "), strict=True):
        assert name in str(caught.value), i


def test_a_weight_that_is_not_finite_is_never_in_a_checkpoint(train, tiny_config, tmp_path):
    class Spoils(StopsAt):
        def wrap(self, model):
            self.model = model
            return model

        def relay(self, orders):
            if orders & Control.STOP:
                self.model.fc6.bias.data[3] = float("nan")
            return orders

    with pytest.raises(DivergedError, match="step 4: weights are not finite"):
        train(worker=Spoils(4))
    assert not Checkpoints(open_store(str(tmp_path / "run")), 3).steps()


def test_a_step_does_not_depend_on_the_number_of_workers(tiny, tiny_config, tmp_path):
    # With dropout, whose draws are of the global batch; 4 streams over 3 workers: 1, 1, 2.
    checkpoints = Checkpoints(open_store(str(tmp_path)), 1)

    def step(rank, world_size):
        worker = LocalWorker(rank=rank, world_size=world_size)
        trainer = Trainer(tiny_config, tiny[1], tiny[0], worker, checkpoints)
        kept, meter = [], Meter(worker.device)
        trainer.optimizer.step = lambda: kept.extend(
            p.grad.clone() for p in trainer.network.parameters()
        )
        parts = next(training_batches(trainer.train_parts()))
        trainer.update(trainer.network, parts, meter)
        return torch.cat([g.flatten() for g in kept]), meter.loss_sum

    gradient, loss = step(0, 1)
    ranks = [step(rank, 3) for rank in range(3)]
    assert torch.allclose(torch.stack([g for g, _ in ranks]).mean(0), gradient, atol=1e-6)
    assert sum(loss for _, loss in ranks) == pytest.approx(float(loss), rel=1e-6)
