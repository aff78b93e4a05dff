"""A version's lineage names its data to the last shard, its code, its run and what befell it."""

import dataclasses
import hashlib
import tomllib

import pytest

from alexnet import config_file
from alexnet.registry import lineage
from alexnet.telemetry.epoch_ledger import Ledger, Skipped
from alexnet.telemetry.events import Event
from tests.registry import candidate, trained_run
from tests.tiny_data import NUM_TRAIN, NUM_VAL, new_record


@pytest.fixture(scope="module")
def run(tiny_url, tmp_path_factory):
    with trained_run(tiny_url, tmp_path_factory.mktemp("run"), epochs=2) as run:
        yield run


@pytest.fixture
def made(run):
    return candidate(run, new_record(run.config, run.manifest, "run")).lineage


def test_it_is_read_as_it_was_written(made):
    assert lineage.from_json(made.to_json()) == made


def test_each_shard_is_named_with_the_digest_of_its_bytes(made, run):
    assert {split: len(shards) for split, shards in made.shards.items()} == {"train": 6, "val": 2}
    sizes = {split: sum(s.num_samples for s in made.shards[split]) for split in made.shards}
    assert sizes == {"train": NUM_TRAIN, "val": NUM_VAL}
    for shards in made.shards.values():
        for shard in shards:
            data = run.data.read(shard.name)
            assert (len(data), hashlib.sha256(data).hexdigest()) == (shard.num_bytes, shard.sha256)


def test_code_configuration_packages_and_run_are_in_it(made, run):
    assert config_file.parse(tomllib.loads(made.config)).digest() == made.config_digest
    assert (made.git_commit, made.seed, made.step) == ("abc", run.config.train.seed, run.best.step)
    assert made.metrics == run.best.metrics
    assert {"torch", "mlflow", "ray", "numpy"} <= set(made.packages)
    assert [start.workers for start in made.starts] == [1]
    assert [epoch.epoch for epoch in made.ledger] == [0, 1]
    assert all(e.delivered + e.skipped + e.left_over == e.expected for e in made.ledger)


def test_restarts_and_skipped_samples_are_told(run):
    def event(kind, time_ms, **more):
        return Event(kind=kind, step=3, steps=9, epoch=1.0, time_ms=time_ms, **more)

    def ledger(skipped):
        return Ledger(epoch=0, expected=10, delivered=9, skipped=skipped, left_over=0)

    skipped = (Skipped(0, 4, "train-000000.tar: 4.jpg", "cut"),)
    events = [
        event("started", 5, workers=3),
        event("evaluated", 6, ledger=ledger(skipped)),
        event("started", 2, workers=2),
        event("evaluated", 7, ledger=ledger(())),  # done again: the first one counts
        event("started", 5, workers=3),  # the same one, in two parts of the journal
    ]
    record = new_record(run.config, run.manifest, "run")
    made = lineage.of_run(record, "r", run.best, run.config, events, {})
    assert [(start.time_ms, start.workers) for start in made.starts] == [(2, 2), (5, 3)]
    assert [epoch.skipped for epoch in made.ledger] == [1]
    tags = made.tags()
    assert (tags["workers"], tags["restarts"], tags["skipped_samples"]) == ("2, 3", "1", "1")


@pytest.mark.parametrize(
    ("commit", "clean"), [("abc", True), ("abc-dirty", False), ("unknown", False)]
)
def test_code_that_cannot_be_found_again_is_told(run, commit, clean):
    record = new_record(run.config, run.manifest, "run")
    made = candidate(run, dataclasses.replace(record, git_commit=commit)).lineage
    assert made.tree_is_clean == clean


def test_the_image_is_named_if_its_environment_does(run, monkeypatch):
    record = new_record(run.config, run.manifest, "run")
    assert candidate(run, record).lineage.tags()["image_digest"] == "unknown"
    monkeypatch.setenv("IMAGE_DIGEST", "sha256:0123")
    assert candidate(run, record).lineage.tags()["image_digest"] == "sha256:0123"


def test_what_an_interrupted_installation_left_is_no_package(tmp_path, monkeypatch):
    for name in ("half-1.0.dist-info", "whole-1.0.dist-info", "~alf-1.0.dist-info"):
        (tmp_path / name).mkdir()
    (tmp_path / "whole-1.0.dist-info" / "METADATA").write_text("Name: whole\nVersion: 1.0\n")
    (tmp_path / "gone-1.0.dist-info").symlink_to(tmp_path / "nowhere")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert lineage.installed() == {"whole": "1.0"}
