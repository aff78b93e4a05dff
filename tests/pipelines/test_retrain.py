"""New data is learnt, judged and promoted once, whoever calls how often and whatever is killed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from alexnet.adapters.mlflow_registry import Registry
from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest
from alexnet.retraining import records
from alexnet.telemetry import prometheus_metrics
from pipelines import retrain
from pipelines import status as status_command
from tests.commands import LENIENT, ROOT, Commands, held

pytestmark = pytest.mark.slow


class Retraining(Commands):
    """A registered model of its own, its data, and the command."""

    def __init__(self, folder, data, capfd):
        super().__init__(capfd)
        self.use_tiny(folder, data)
        self.name, self.data = f"m-{uuid.uuid4().hex[:8]}", data

    def arguments(self, *more):
        return [str(self.file), f"--set=registry.model_name={self.name}", *LENIENT, *more]

    def __call__(self, *more):
        return self.call(retrain.main, self.arguments(*more))

    def start(self, *more):
        return self.start_script("retrain", self.arguments(*more))

    @property
    def store(self):
        return open_store(f"{self.storage}/_retraining/{self.name}")

    @property
    def outcomes(self):
        return [each.outcome for each in records.read(self.store)]

    @contextmanager
    def as_it_was(self):
        """The data before `publish_less`."""
        newest = self.data / manifest.MANIFEST_NAME
        less = newest.read_bytes()
        newest.write_bytes(self.before)
        yield
        newest.write_bytes(less)

    def publish_less(self):
        """Another manifest of the same folder: without the last training shard."""
        self.before = (self.data / manifest.MANIFEST_NAME).read_bytes()
        store = open_store(str(self.data))
        known = manifest.read(store)
        splits = {split: list(known.split(split)) for split in known.splits}
        splits["train"] = splits["train"][:-1]
        manifest.publish(store, manifest.draft(known.name, known.classes, known.colour, splits))


@pytest.fixture
def model(tiny_url, on_cluster, mlflow_url, monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    monkeypatch.setenv("GIT_COMMIT", "abc")
    monkeypatch.chdir(tmp_path)
    made = Retraining(tmp_path, shutil.copytree(tiny_url, tmp_path / "data"), capfd)
    yield made
    made.end()


LEARNS = ("--set=train.epochs=8",)

LONG = ("--set=train.epochs=24",)
"""So that it is not over before it is stopped."""


@contextmanager
def scraped(model):
    """What Prometheus reads of an exporter, whose end is that of a SIGTERM."""
    script = str(ROOT / "pipelines" / "exporter.py")
    command = [sys.executable, script, *model.arguments("--port=0", "--every=0")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        url = process.stdout.readline().split()[1]
        yield urllib.request.urlopen(url).read().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def check_page(page, name):
    """Every measure of a registered model is there, and is what was done with it."""
    found = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("model") == name
            found[" ".join([sample.name, *labels.values()])] = sample.value
    assert {key.partition(" ")[0] for key in found} == {
        each.series for each in prometheus_metrics.ALL if each.source == "model"
    }
    assert found["alexnet_champion_version"] == 1
    assert 0 < found["alexnet_champion_top1_ratio"] <= 1
    assert found["alexnet_retrainings_total promoted"] == 1
    assert found["alexnet_retrainings_total refused"] == 0
    assert found["alexnet_retraining_cost_total USD"] > 0
    assert found["alexnet_retraining_at_work"] == 1
    begun, ended, decided = (
        found[f"alexnet_last_{what}_timestamp_seconds"]
        for what in ("retraining_begun", "retraining_ended", "decision")
    )
    assert begun < decided < ended <= time.time()


def check_lines(said, run):
    """Each line of a retraining is JSON, and what it has cost is in one of them."""
    lines = [json.loads(line) for line in said.splitlines()]
    assert {"text", "started", "progress", "evaluated", "ended"} == {line["kind"] for line in lines}
    assert {line["run"] for line in lines if line["kind"] != "text"} == {run}
    (closing,) = (line["text"] for line in lines if "registered  " in line.get("text", ""))
    assert re.search(r"^cost        [\d.]+ USD: workers [\d.]+ USD$", closing, re.M)
    return [line["text"] for line in lines if line["kind"] == "text"]


def test_before_the_first_retraining_status_says_that_there_is_none(model, capfd):
    assert status_command.main(model.arguments()) == 0
    assert capfd.readouterr().out == (
        "champion    none\nprevious    none\nchallenger  none\nat work     nobody\n"
        "looked      never\n"
        "next        no retrain.schedule\n\nretrainings\n  none\n\n"
        "decisions\nnothing was decided yet\n"
    )


def check_shown(model, capfd):
    """What status and the exporter say while the second retraining is about to begin."""
    (only,) = records.read(model.store)
    assert 0 < only.cost < 2 * (only.ended_ms - only.begun_ms) / 1000
    assert only.currency == "USD"
    with held(model.store.url) as holder:
        assert status_command.main(model.arguments()) == 0
        with scraped(model) as page:
            check_page(page, model.name)
    said = capfd.readouterr().out
    assert re.search(r"^champion    version 1, top-1 [01]\.\d+, promoted \(decision 1\)", said)
    assert f"at work     planning, by process {holder} on " in said
    assert re.search(
        r"^   1  .* UTC  version 1 promoted; the first training, .* min, cost .* USD$", said, re.M
    )
    assert "version 1 promoted, champion 1, by " in said


def wait_for(process, pattern):
    """Read what a process says until it says this."""
    for line in process.stdout:
        if re.search(pattern, line):
            return
    pytest.fail(f"ended with {process.wait()} before it said {pattern}")


def go_on_after_a_kill(model, moment, *settings):
    """The first retraining, killed when it says this; newer data comes, and it is gone on with."""
    killed = model.start(*settings)
    wait_for(killed, moment)
    killed.kill()
    killed.wait()
    model.publish_less()
    before = len(records.read(model.store))
    status, said = model(*settings)
    assert status == 0
    assert f"{model.name}: continue: retraining 1 was interrupted" in said
    (only,) = records.read(model.store)
    assert (before, only.outcome, only.version) == (1, "promoted", 1)
    registry = Registry(model.name)
    assert registry.aliases() == {"champion": 1, "challenger": 1}
    newest = manifest.read(open_store(str(model.data)))
    trained_on = registry.find("champion").tags["manifest_digest"]
    assert trained_on == only.ingredients.manifest_digest != newest.digest


@pytest.mark.proof
@pytest.mark.parametrize("moment", [r"step=16/", r"is champion"])
def test_one_that_was_killed_is_gone_on_with_although_newer_data_came(model, moment):
    go_on_after_a_kill(model, moment, *LONG)


def test_new_data_is_learnt_once_whatever_is_killed_and_status_and_the_exporter_show_it(
    model, capfd, monkeypatch
):
    status, said = model("--dry-run")
    assert (status, said) == (0, f"{model.name}: would train: the first training\n")
    assert not model.storage.exists()

    settings = (*LEARNS, "--set=price.per_worker_hour=3600")
    go_on_after_a_kill(model, r"^registered|^best", *settings)
    check_shown(model, capfd)
    with model.as_it_was():
        status, said = model("--dry-run", *settings)
    assert (status, said.count("\n")) == (0, 1)
    assert said.startswith(f"{model.name}: would skip: champion version 1 has the same data")

    with monkeypatch.context() as patch:
        patch.setenv("ALEXNET_LOG", "json")
        status, said = model(*settings)
    texts = check_lines(said, "tiny-retraining-0002")
    assert texts[0] == f"{model.name}: train: new data"
    assert (status, model.outcomes) == (3, ["promoted", "refused"])
    version = Registry(model.name).find("challenger")
    newest = manifest.read(open_store(str(model.data)))
    assert (version.number, version.tags["manifest_digest"]) == (2, newest.digest)

    status, said = model(*settings)
    assert status == 0
    assert "skip: retraining 2 had the same data, configuration and code: refused" in said


def test_of_two_at_once_one_works_and_the_other_says_who_does(model):
    with held(model.store.url) as holder:
        status, said = model()
    assert (status, said.count("\n")) == (5, 1)
    assert f"retraining of {model.name}: process {holder} on " in said
    assert said.endswith("is at work on it. Wait for its end.\n")
    assert records.read(model.store) == []


@pytest.mark.proof
def test_a_signal_stops_it_with_a_checkpoint_and_the_next_call_goes_on(model):
    stopped = model.start(*LONG)
    wait_for(stopped, r"step=16/")
    stopped.send_signal(signal.SIGTERM)
    stopped.stdout.read()
    assert stopped.wait() == 128 + signal.SIGTERM
    assert [each.state for each in records.read(model.store)] == ["training"]
    status, said = model(*LONG)
    assert status == 0
    assert "(continued)" in said


def test_a_training_that_takes_too_long_is_ended_and_not_begun_again(model):
    limit = "--set=retrain.max_hours=0.000001"
    status, said = model(limit)
    assert (status, model.outcomes) == (3, ["too long"])
    assert "retrain.max_hours = 1e-06 is reached: a checkpoint now, and then the end" in said
    status, said = model(limit)
    assert (status, model.outcomes) == (0, ["too long"])
    assert "skip: retraining 1 had the same data, configuration and code: too long" in said


@pytest.mark.proof
def test_a_warm_start_begins_with_the_champions_weights_and_names_it(model):
    warm = ("--set=retrain.warm_start=true", *LEARNS)
    assert model(*warm)[0] == 0
    model.publish_less()
    _, said = model(*warm)
    first, second = records.read(model.store)
    registry = Registry(model.name)
    champion = registry.find("1")
    assert (first.parent, second.parent) == (None, 1)
    assert second.parent_weights == champion.tags["weights_sha256"]
    tags = registry.find("2").tags
    assert (champion.tags["parent_version"], tags["parent_version"]) == ("none", "1")
    assert tags["recipe_digest"] == champion.tags["recipe_digest"]
    losses = [float(loss) for loss in re.findall(r"step=1/.*train/loss=([\d.]+)", said)]
    assert losses[0] < 0.9  # a guess has ln 3 = 1.0986
    status, said = model(*warm)
    assert (status, len(records.read(model.store))) == (0, 2)


@pytest.mark.proof
def test_one_that_a_person_has_to_approve_waits_and_then_goes_on(model):
    status, _ = model("--require-approval", *LEARNS)
    assert (status, model.outcomes) == (4, ["waits for approval"])
    registry = Registry(model.name)
    registry.annotate(1, {"approval": "approved"}, {})
    status, said = model("--require-approval", *LEARNS)
    assert (status, model.outcomes) == (0, ["promoted"])
    assert "continue: retraining 1 waits for approval" in said
    assert registry.aliases()["champion"] == 1
