"""Processes that are killed, frozen or asked to end."""

import json
import random
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

import psutil

from infra.drills import evidence
from infra.drills.surroundings import (
    AT_EPOCHS,
    SMALL,
    TWO,
    Settings,
    Surroundings,
    Training,
    last_step,
    processes_of,
    ray,
)
from infra.programs import ROOT, expect, wait_until

IN_TRAINING = 0.75
"""Share of the kills that come at a random step; the others come at a random moment, which is most
often while processes start, or while the model is registered."""

STARTS = 5
"""How often a command is given again before a drill has failed."""


@dataclass(frozen=True, slots=True)
class Calm:
    """An undisturbed run to compare with."""

    weights: dict[str, Any]
    seconds: float
    steps: int


_calm: dict[int, Calm] = {}


def calm(place: Surroundings, workers: int) -> Calm:
    """The small training without any failure, done once for all drills."""
    if workers not in _calm:
        name, began = f"calm-{workers}", time.monotonic()
        training = place.train(name, {"cluster.num_workers": workers})
        training.done()
        seconds = time.monotonic() - began
        _calm[workers] = Calm(evidence.final_weights(place, name), seconds, training.step)
    return _calm[workers]


def check_weights(place: Surroundings, run: str) -> None:
    """Hold the last weights of a run with two workers to those of the undisturbed one."""
    same = evidence.same_bits(evidence.final_weights(place, run), calm(place, 2).weights)
    expect(same, f"{run}: the weights are not those of the undisturbed run")


def kill_anything(place: Surroundings, run: str) -> int:
    """`kill -9` of a random process at a random moment; the same command until it succeeds."""
    place.set_nodes(1, 1)
    undisturbed = calm(place, 2)
    draw = random.Random(run)  # noqa: S311 - the same kills whenever the drill has this name
    moment = draw.uniform(0, 0.9 * undisturbed.seconds)
    step = draw.randrange(1, undisturbed.steps)
    at_step = draw.random() < IN_TRAINING
    training = place.train(run, TWO)

    def due() -> bool:
        if at_step:
            return training.step >= step
        return time.monotonic() - training.began > moment

    wait_until(lambda: due() or training.process.poll() is not None, "the moment")
    found = victims(place, training)
    kind = draw.choice(sorted(found))
    victim = draw.choice(sorted(found[kind], key=lambda each: each.pid))
    after = time.monotonic() - training.began
    print(f"  {run}: {after:.1f} s after the start, at step {training.step}: {kind}", flush=True)
    victim.kill()
    if kind == "raylet":
        wait_until(lambda: any(n.process.poll() is not None for n in place.nodes), "a dead node")
        place.set_nodes(1, 1)  # as an autoscaler would
    until_done(place, training, run, TWO)
    check_weights(place, run)
    return evidence.finished(place, run)


def until_done(place: Surroundings, training: Training, run: str, settings: Settings) -> None:
    """Give the same command again until it succeeds."""
    for _ in range(STARTS):
        if training.end() == 0:
            return
        training = place.train(run, settings)
    training.done()


def victims(place: Surroundings, training: Training) -> dict[str, list[psutil.Process]]:
    """What there is to be killed now, by kind."""
    found: dict[str, list[psutil.Process]] = {}
    if training.process.poll() is None:
        found["driver"] = [psutil.Process(training.process.pid)]
    for node in place.nodes:
        for each in processes_of(node):
            kind = _kind(each)
            if kind:
                found.setdefault(kind, []).append(each)
    for each in place.head_processes():
        if "TrainController" in _name(each):
            found.setdefault("controller", []).append(each)
    return found


def _kind(process: psutil.Process) -> str:
    name = _name(process)
    if "RayTrainWorker" in name:
        return "train worker"
    if "forkserver" in name:
        return "loader process"
    return "raylet" if "raylet/raylet" in name.split(" ")[0] else ""


def _name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def frozen_worker(place: Surroundings, run: str) -> int:
    """A worker that stops answering is noticed within the time that was set."""
    place.set_nodes(1, 1)
    limits = {"cluster.store_timeout_s": 10, "cluster.hang_timeout_s": 15}
    training = place.train(run, TWO | limits)
    training.reach(30)
    workers = victims(place, training)["train worker"]
    workers[-1].suspend()
    training.done()
    check_weights(place, run)
    return place.steps_redone(run)


def sigterm(place: Surroundings, run: str) -> int:
    """SIGTERM: a complete checkpoint, KILLED, and the next start resumes from that step."""
    place.set_nodes(1, 1)
    training = place.train(run, TWO | AT_EPOCHS)
    training.reach(30)
    training.send(signal.SIGTERM)
    expect(training.end() == 128 + signal.SIGTERM, f"exit status {training.process.returncode}")
    stopped(place, run, training.step, {})
    check_weights(place, run)
    return place.steps_redone(run)


def job_stop(place: Surroundings, run: str) -> int:
    """`ray job stop`, which sends SIGTERM and waits as long as the job's environment says."""
    place.set_nodes(1, 1)
    own = {"run.name": run, "cluster.storage_url": place.storage}
    # Longer, because the `ray` command takes seconds each time.
    longer: Settings = {"train.epochs": 40}
    settings = SMALL | TWO | AT_EPOCHS | longer | own
    waits = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}}
    address = f"--address={place.head.job_address}"
    job = ("job", "submit", "--no-wait", address, f"--submission-id={run}")
    done = ray(
        *(*job, f"--runtime-env-json={json.dumps(waits)}", "--"),
        *(sys.executable, str(ROOT / "pipelines" / "train.py")),
        *(f"--set={key}={value}" for key, value in settings.items()),
        env=place.env,
    )
    expect(done.returncode == 0, done.stderr)

    def step() -> int:
        return last_step(ray("job", "logs", address, run, env=place.env).stdout)

    wait_until(lambda: step() >= 30, "step 30 of the job")
    before = step()
    done = ray("job", "stop", address, run, env=place.env)
    expect("stopped" in done.stdout, done.stdout + done.stderr)
    stopped(place, run, before, longer)
    return place.steps_redone(run)


def stopped(place: Surroundings, run: str, step: int, settings: Settings) -> None:
    """Hold a run that was stopped at a step to what it must have left, and let it continue."""
    with place.using_s3():
        kept = evidence.checkpoints(place, run).steps()
    expect(kept and kept[-1] >= step, f"step {step} was done, the newest checkpoint is of {kept}")
    expect(place.record(run)["status"] == "KILLED", "run.json does not say KILLED")
    evidence.check_tracked(place, run, "KILLED")
    again = place.train(run, TWO | settings)
    again.done()
    expect(f"step={kept[-1]}/" in again.text, f"did not go on from step {kept[-1]}")
    evidence.check_tracked(place, run, "FINISHED")
