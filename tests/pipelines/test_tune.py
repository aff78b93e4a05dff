"""A search ends the worse trials early, goes on where it was, and says what is best."""

import dataclasses
import os
import shutil
import signal
import threading
import time

import pytest
from mlflow.tracking import MlflowClient

from alexnet import config_file
from alexnet.adapters.object_store import open_store
from alexnet.adapters.ray_cluster import Resources
from alexnet.config import NameConfig
from alexnet.errors import LeaseError
from alexnet.runs import run_record
from alexnet.search import record as trials
from alexnet.search import space
from alexnet.search.record import Ended, Epoch, SearchRecord, Trial
from pipelines import tune
from pipelines.steps import run_inputs, search_report, search_trial
from pipelines.steps import search as searching
from pipelines.steps.search_trial import Task
from pipelines.steps.stop_request import StopRequest
from tests.commands import Commands
from tests.waiting import wait_until

SPACE = """
trials = 3
reduction = 2

[space]
optim.learning_rate = { choice = [1e-9, 2e-9, 1e30] }
"""
"""Values that learn nothing, and one whose loss is not finite; the run's own values learn."""


class Tuning(Commands):
    """A search of its own, and the command."""

    def __init__(self, folder, data, capfd):
        super().__init__(capfd)
        self.use_tiny(folder, data)
        self.space = folder / "space.toml"
        self.space.write_text(SPACE)

    def arguments(self, *more):
        return [str(self.file), f"--space={self.space}", *more]

    def __call__(self, *more):
        return self.call(tune.main, self.arguments(*more))

    def start(self, *more):
        return self.start_script("tune", self.arguments(*more))

    @property
    def folder(self):
        (found,) = (self.storage / "_search").iterdir()
        return open_store(str(found))

    @property
    def record(self):
        return trials.read(self.folder)

    @property
    def begun(self):
        """Whether the first trial has ended an epoch."""
        return list(self.storage.glob("_search/*/search.json")) and self.record.trials[0].epochs

    def wait(self, process, condition):
        """Until what is written down fulfils a condition."""
        deadline = time.monotonic() + 200
        while not list(self.storage.glob("_search/*/search.json")) or not condition(self.record):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.fixture
def tuning(tiny_url, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    made = Tuning(tmp_path, tiny_url, capfd)
    yield made
    made.end()


@pytest.fixture
def tracked(on_cluster, mlflow_url, monkeypatch):
    """On the cluster, with the shared tracker; its address."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    return mlflow_url


def runs(uri, record):
    """The run of a search, and those that are nested in it, by name."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("alexnet").experiment_id
    (own,) = client.search_runs([experiment], f"tags.run_key = '{record.key}'")
    nested = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{own.info.run_id}'")
    return own, {each.info.run_name: each for each in nested}


@pytest.mark.slow
def test_on_one_machine_the_worse_trials_are_ended_early_and_the_best_is_a_run_that_train_takes(
    tuning, tiny_url, tmp_path
):
    shutil.copytree(tiny_url, tmp_path / "data")
    relative = ("--set=data.url=data", "--set=cluster.storage_url=runs")  # as on a laptop
    status, said = tuning(*relative, "--out=best.toml", "--set=price.per_worker_hour=3600")
    assert status == 0, said
    record = tuning.record
    outcomes = {trial.values.get("optim.learning_rate"): trial.outcome for trial in record.trials}
    assert (outcomes.pop(None), outcomes.pop(1e30)) == ("finished", "diverged")
    assert "ended early" in outcomes.values()
    for each in record.trials:
        epochs = {"finished": [3], "ended early": [1, 2], "diverged": [0]}[each.outcome]
        assert len(each.epochs) in epochs
        assert each.cost > 0
    assert f"best     trial {record.best.number}, top-1" in said
    assert "  python pipelines/train.py best.toml\n" in said

    made = config_file.load(tmp_path / "best.toml")
    wanted = config_file.changed(config_file.load(tuning.file), record.best.values)
    assert made.identity() == wanted.identity()
    assert (made.run.name, made.data.url, made.cluster.storage_url) == ("", "data", "runs")
    assert tuning.folder.read("best.toml") == (tmp_path / "best.toml").read_bytes()

    search, nested = runs(f"sqlite:///{tmp_path}/mlflow.db", record)
    best = search.data.metrics["best/top1"]
    assert (search.info.status, best) == ("FINISHED", record.best.peak.top1)
    assert set(nested) == {trial.run_name for trial in record.trials}
    for each in record.trials:
        run = nested[each.run_name]
        expected = {
            "finished": ["FINISHED"],
            "ended early": ["KILLED", "FINISHED"],  # it trains on until it is told
            "diverged": ["FAILED"],
        }
        assert run.info.status in expected[each.outcome], each
        rate = each.values.get("optim.learning_rate", 0.01)
        assert float(run.data.params["optim.learning_rate"]) == rate
        if each.outcome == "finished":
            assert run.data.metrics["val/top1"] == each.epochs[-1].top1


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.timeout(600)  # three commands, one after another
def test_a_search_is_one_commands_at_a_time_and_goes_on_when_it_was_stopped_or_killed(
    tuning, tracked
):
    tuning.space.write_text(SPACE)
    slow = ("--set=train.epochs=30", "--set=optim.learning_rate=0.001")
    process = tuning.start(*slow)
    tuning.wait(process, lambda known: known.trials[0].epochs)
    status, said = tuning(*slow)
    assert (status, said.endswith("is at work on it. Wait for its end.\n")) == (2, True), said
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 143, said
    assert "stopped by SIGTERM: " in said
    before = tuning.record.trials[0]
    search, nested = runs(tracked, tuning.record)
    assert (search.info.status, nested[before.run_name].info.status) == ("KILLED", "KILLED")
    assert not (tuning.storage / before.run_name / "lease.json").exists()

    process = tuning.start(*slow)
    tuning.wait(process, lambda known: any(trial.outcome for trial in known.trials))
    process.kill()
    process.communicate()
    ended = [trial for trial in tuning.record.trials if trial.outcome]
    assert len(ended) < 3

    status, said = tuning(*slow)
    assert status == 0, said
    after = tuning.record
    assert [epoch.number for epoch in after.trials[0].epochs] == list(range(1, 31))
    assert after.trials[0].epochs[: len(before.epochs)] == before.epochs
    for each in ended:
        known = after.trials[each.number]
        assert (known.outcome, known.epochs) == (each.outcome, each.epochs)
    search, nested = runs(tracked, after)
    assert search.info.status == "FINISHED"
    assert len(nested) == 3  # none was begun anew
    assert "RUNNING" not in {run.info.status for run in nested.values()}

    status, said = tuning(*slow)
    assert (status, "best     trial" in said, "epoch 1:" in said) == (0, True, False)


@pytest.mark.proof
@pytest.mark.slow
def test_a_search_that_was_stopped_goes_on_with_the_epochs_that_it_had(tuning, tracked):
    tuning.space.write_text(SPACE.replace("trials = 3", "trials = 2"))
    slow = ("--set=train.epochs=20", "--set=optim.learning_rate=0.001")

    def stop():
        wait_until(lambda: tuning.begun, 200)
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop)
    stopping.start()
    status, said = tuning(*slow)
    stopping.join()
    assert (status, "stopped by SIGTERM: " in said) == (143, True), said
    before = tuning.record.trials[0]
    status, said = tuning(*slow)
    assert status == 0, said
    after = tuning.record.trials[0]
    assert [epoch.number for epoch in after.epochs] == list(range(1, 21))
    assert after.epochs[: len(before.epochs)] == before.epochs
    _, nested = runs(tracked, tuning.record)
    assert len(nested) == 2  # none was begun anew


@pytest.mark.slow
def test_a_trial_that_was_killed_while_it_ended_is_ended_by_the_next_command(
    tuning, mlflow_url, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    named = dataclasses.replace(config_file.load(tuning.file), run=NameConfig(name="cut-short"))
    inputs = run_inputs.prepare(named)
    run = open_store(inputs.run_url)
    inputs.record.write(run)
    task = Task(inputs.config, "", Resources(1, 1, use_gpu=False), Ended("ended early"))
    following = search_trial.begin([task], 0)
    assert following.next(60) == Ended("ended early")
    following.stop()
    assert run_record.read(run).status == "KILLED"


class Lost:
    """The lease of a command whose search another one has taken over."""

    def check(self):
        raise LeaseError("another process has taken this over.")


def test_a_command_that_was_replaced_writes_nothing(tuning, monkeypatch):
    found = searching.prepare(config_file.load(tuning.file), space.load(tuning.space))
    record = searching.planned(found)
    newer = record.having(record.trials[0].ended(Ended("failed", "of the other command")))
    newer.write(found.store)
    monkeypatch.setattr(searching, "_reports", lambda *_: iter(()))
    with pytest.raises(LeaseError):
        searching.run(found, record, "", Lost(), StopRequest(print), print)
    assert trials.read(found.store) == newer


def test_dry_run_shows_the_trials_and_writes_nothing(tuning):
    status, said = tuning("--dry-run")
    assert status == 0
    assert said.splitlines()[0].endswith("3 trials to run")
    assert "1e+30" in said
    assert not (tuning.storage / "_search").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set=run.name=mine"], "tune: run.name = 'mine': a search names its trials itself.\n"),
        (["--out=nowhere/best.toml"], "tune: --out nowhere/best.toml: not a file in a folder"),
        (["--out=."], "tune: --out .: not a file in a folder that exists. Name another."),
        (["--space=none.toml"], "tune: none.toml: No such file or directory. Name a TOML file"),
        (["--set=data.url=nothing"], "nothing"),
    ],
)
def test_what_a_user_can_mend_is_one_line(tuning, more, message):
    status, said = tuning(*more)
    assert status == 2
    assert message in said
    assert len(said.splitlines()) == 1


def test_the_best_file_says_where_it_comes_from_and_what_was_there_before(tmp_path):
    made = tuple(
        Trial(
            number=i, run_name="t", values=values, outcome="finished", epochs=(Epoch(3, top1, 1.0),)
        )
        for i, (values, top1) in enumerate([({}, 0.5), ({"optim.learning_rate": 0.5}, 0.75)])
    )
    record = SearchRecord(name="s", manifest_digest="m", git_commit="g", trials=made)
    text = search_report.toml(record, config_file.parse({"name": "mine"}))
    assert "# Trial 1 of s, the best of 2:\n# validation top-1 0.7500 after epoch 3.\n" in text
    assert "# The values from before the search reached 0.5000.\n" in text
    (tmp_path / "best.toml").write_text(text)
    assert config_file.load(tmp_path / "best.toml") == config_file.parse(
        {"name": "mine", "optim": {"learning_rate": 0.5}}
    )
