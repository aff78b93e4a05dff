"""What a run with failures says of itself to Prometheus."""

import time
from types import SimpleNamespace

import pytest

from alexnet import config_file
from alexnet.runs.lost_work import LostWorkAccount
from alexnet.telemetry import prometheus_metrics, s3_usage
from alexnet.telemetry.cost import NOTHING, Spending, Usage
from alexnet.telemetry.epoch_ledger import Ledger, Skipped
from alexnet.telemetry.events import Event
from pipelines.steps.training_metrics import Meter

BEGAN = time.time_ns() // 10**6
CONFIG = config_file.parse(
    {
        "price": {"per_worker_hour": 3600, "per_1000_gets": 1000, "currency": "EUR"},
        "train": {"global_batch_size": 128},
        "registry": {"model_name": "birds"},
    }
)


class Run:
    """As much of a session as is measured."""

    def __init__(self, used=NOTHING):
        self.inputs = SimpleNamespace(config=CONFIG)
        self.record = SimpleNamespace(name="birds-1", lost=())
        self.tracked = SimpleNamespace(is_away=False, backlog=0)
        self.spending = Spending(CONFIG.price, used)
        self._account = LostWorkAccount()
        self.values = {}
        self._meter = Meter(self, "gpu")

    def see(self, kind, step, seconds, workers=0, ledger=None, **metrics):
        names = {name.replace("__", "/"): value for name, value in metrics.items()}
        event = Event(
            kind=kind,
            step=step,
            steps=0 if kind == "failed" else 100,
            epoch=step / 50,
            time_ms=BEGAN + 1000 * seconds,
            metrics=names,
            ledger=ledger,
            workers=workers,
            text=kind,
        )
        lost = self._account.see(event)
        if lost:
            cost = self.spending.lose(event, lost.seconds)
            self.record.lost += (lost._replace(cost=cost),)
        self.spending.see(event)
        for measure, value, labels in self._meter.samples(event):
            assert set(labels) == set(measure.labels)
            assert (labels["run"], labels["model"]) == ("birds-1", "birds")
            more = [labels[key] for key in measure.labels[2:] if key != "currency"]
            key = " ".join([measure.name.removeprefix("alexnet_"), *more])
            if measure.kind == "counter":
                assert value >= self.values.get(key, 0)
            self.values[key] = value


def test_a_failure_is_counted_with_what_it_lost_and_what_it_cost():
    run = Run()
    run.see("started", 0, 0, workers=2)
    run.see("progress", 10, 10, train__loss=2.5, data__s3_get_requests=20.0)
    assert run.values["workers"] == 2
    run.see("failed", 0, 12)
    assert (run.values["workers"], run.values["step"]) == (0, 10)
    run.see("started", 4, 20, workers=2)
    run.see("progress", 14, 30, data__s3_get_requests=5.0, data__s3_get_errors=1.0)
    assert run.values["restarts_total"] == 1
    assert run.values["steps_redone_total"] == 6
    assert run.values["lost_work_seconds_total"] == 20
    assert run.values["lost_work_cost_total"] == pytest.approx(40)
    assert run.values["images_trained_total"] == (10 + 10) * 128
    assert run.values["worker_seconds_total gpu"] == pytest.approx(60)
    assert run.values["cost_total workers"] == pytest.approx(60)
    assert run.values["s3_requests_total get"] == 25
    assert run.values["s3_errors_total get"] == 1
    assert run.values["cost_total requests"] == pytest.approx(25)
    assert run.values["run_cost"] == pytest.approx(85)
    assert run.values["train_loss"] == 2.5


def test_a_run_that_waits_for_its_first_workers_is_seen_without_any():
    run = Run()
    run.see("notice", 0, 0)
    assert run.values["workers"] == 0
    run.see("started", 0, 9, workers=2)
    run.see("progress", 1, 10)
    assert run.values["workers"] == 2


def test_skipped_images_of_all_epochs_add_up():
    run = Run()
    run.see("started", 0, 0, workers=1)
    skipped = tuple(Skipped(0, number, "a.jpg", "not a JPEG") for number in range(3))
    for epoch in (0, 1):
        ledger = Ledger(epoch=epoch, expected=9, delivered=6, skipped=skipped, left_over=0)
        run.see("evaluated", 50 * (epoch + 1), 10, ledger=ledger, val__top1=0.5)
    assert run.values["images_skipped_total"] == 6
    assert run.values["validation_top1_ratio"] == 0.5


def test_what_earlier_commands_used_is_in_the_runs_cost_and_not_counted_again():
    run = Run(Usage(worker_s=100.0))
    run.see("started", 10, 0, workers=1)
    run.see("progress", 11, 5)
    assert run.values["worker_seconds_total gpu"] == pytest.approx(5)
    assert run.values["run_cost"] == pytest.approx(105)
    assert run.values["images_trained_total"] == 128


def test_a_tracker_that_is_away_is_seen():
    run = Run()
    run.see("started", 0, 0, workers=1)
    assert (run.values["tracker_up"], run.values["tracker_backlog_events"]) == (1, 0)
    run.tracked = SimpleNamespace(is_away=True, backlog=7)
    run.see("progress", 1, 1)
    assert (run.values["tracker_up"], run.values["tracker_backlog_events"]) == (0, 7)


def test_every_measure_of_a_training_is_said():
    run = Run()
    told = {f"{s3_usage.PREFIX}{name}".replace("/", "__"): 1.0 for name in s3_usage.NAMES}
    every = ("loss", "learning_rate", "images_per_s", "data_wait")
    run.see("started", 0, 0, workers=1)
    run.see("progress", 1, 1, **told, **{f"train__{name}": 1.0 for name in every})
    run.see("evaluated", 2, 2, val__loss=1.0, val__top1=0.5, val__top5=1.0)
    said = {key.partition(" ")[0] for key in run.values}
    wanted = [each.name for each in prometheus_metrics.ALL if each.source == "training"]
    assert said == {name.removeprefix("alexnet_") for name in wanted}
