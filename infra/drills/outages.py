"""Servers that are away, disks that are full, checkpoints that are damaged."""

import os
import signal
import time

from infra.drills import evidence
from infra.drills.elastic import copy
from infra.drills.gate import Gate
from infra.drills.kills import check_weights
from infra.drills.surroundings import AT_EPOCHS, TWO, Settings, Surroundings
from infra.programs import expect, pipeline

OUTAGE_S = 60.0

LONG: Settings = {"train.epochs": 120, "train.checkpoint_every_s": 3}
"""A training that lasts longer than an outage."""


def _away(server: Gate) -> None:
    """Let a server be away for a while."""
    server.shut()
    time.sleep(OUTAGE_S)
    server.open()


def mlflow_down_in_the_middle(place: Surroundings, run: str) -> int:
    """Training continues, and every metric is there afterwards."""
    place.set_nodes(1, 1)
    training = place.train(run, TWO | LONG)
    training.reach(50)
    before = training.step
    _away(place.mlflow)
    expect(training.step > before + 50, f"training stood still at step {training.step}")
    training.done()
    return evidence.finished(place, run)


def mlflow_down_at_the_start(place: Surroundings, run: str) -> int:
    """Training begins all the same."""
    place.set_nodes(1, 1)
    place.mlflow.shut()
    training = place.train(run, TWO)
    training.reach(50)
    time.sleep(max(0, training.began + OUTAGE_S - time.monotonic()))
    place.mlflow.open()
    training.done()
    return evidence.finished(place, run)


def mlflow_down_at_the_end(place: Surroundings, run: str) -> int:
    """The end waits for the tracker, and then registers."""
    place.set_nodes(1, 1)
    training = place.train(run, TWO)
    training.reach(100)
    _away(place.mlflow)
    training.done()
    return evidence.finished(place, run)


def mlflow_down_for_good(place: Surroundings, run: str) -> int:
    """The command gives up in the end; `sync_tracking` and the same command do the rest."""
    place.set_nodes(1, 1)
    place.mlflow.shut()
    training = place.train(run, TWO | {"registry.timeout_s": 1})
    expect(training.end() == 2, f"exit status {training.process.returncode}, not 2")
    expect("Training is complete" in training.text, training.text[-500:])
    place.mlflow.open()
    synced = pipeline("sync_tracking", f"{place.storage}/{run}", env=place.env, folder=place.folder)
    expect(synced.returncode == 0, synced.stdout)
    evidence.check_tracked(place, run, "FAILED")
    place.train(run, TWO).done()
    return evidence.finished(place, run)


def s3_down(place: Surroundings, run: str) -> int:
    """Data and checkpoints are away for a minute: training waits, and loses nothing."""
    place.set_nodes(1, 1)
    training = place.train(run, TWO | LONG)
    training.reach(50)
    _away(place.s3)
    training.done()
    return evidence.finished(place, run)


def storage_full(place: Surroundings, run: str) -> int:
    """A checkpoint finds no room: one line, exit status 2, and the one before is intact."""
    place.set_nodes(1, 1)
    storage = place.folder / "full"
    full = storage / run / "step-00000044"
    full.parent.mkdir(parents=True)
    full.symlink_to(os.devnull.replace("null", "full"))
    training = place.train(run, TWO | AT_EPOCHS, str(storage))
    expect(training.end() == 2, f"exit status {training.process.returncode}, not 2")
    said = training.text.splitlines()[-1]
    expect(said.startswith("train: ") and "step-00000044" in said, said)
    expect(evidence.file_steps(full.parent) == [22], "the checkpoint before is gone")
    full.unlink()
    again = place.train(run, TWO | AT_EPOCHS, str(storage))
    again.done()
    expect("step=22/132" in again.text, "did not go on from step 22")
    return 0


def damaged_checkpoint(place: Surroundings, run: str) -> int:
    """Cut, altered, or a file missing: the one before is used, and the damaged one is named."""
    place.set_nodes(1, 1)
    begun = place.train(run, TWO)
    begun.reach(80)
    begun.send(signal.SIGTERM)
    begun.end()
    with place.using_s3():
        *_, before, newest = evidence.checkpoints(place, run).steps()
    folder = f"step-{newest:08d}"
    damages = {
        "cut": "state.pt",
        "flipped": "state.pt",
        "missing": "state.pt",
        "no-meta": "meta.json",
    }
    for how, file in damages.items():
        name = copy(place, run, f"{run}-{how}")
        evidence.damage(f"{name}/{folder}/{file}", "missing" if how == "no-meta" else how, place)
        training = place.train(name, TWO)
        training.done()
        lines = training.text.splitlines()
        warned = any(folder in line and "before it is used" in line for line in lines)
        expect(warned, f"{how}: no warning that names {folder}")
        expect(f"step={before}/132" in training.text, f"{how}: did not go on from step {before}")
        check_weights(place, name)
    return newest - before
