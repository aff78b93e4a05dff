"""What a run left behind, read to see whether it is what it must be."""

import math
from pathlib import Path
from typing import Any

import torch

from alexnet.adapters.object_store import open_store
from alexnet.adapters.object_store.s3_client import forget_client
from alexnet.runs.checkpoint_store import Checkpoints
from alexnet.telemetry import event_journal
from infra.drills.surroundings import Surroundings
from infra.programs import NotShownError, expect


def checkpoints(place: Surroundings, name: str) -> Checkpoints:
    """Of a run, in a process that uses S3 as the trainings do."""
    forget_client()
    return Checkpoints(open_store(f"{place.storage}/{name}"), 3)


def final_weights(place: Surroundings, name: str) -> dict[str, torch.Tensor]:
    """Of the newest checkpoint, which must be whole."""
    with place.using_s3():
        found = checkpoints(place, name).newest(_accept, _no_warning)
    if found is None:
        raise NotShownError(f"run {name} has no checkpoint")
    return found[1]["model"]


def same_bits(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    """Whether two networks have the same weights, bit for bit."""
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def series(place: Surroundings, name: str, key: str) -> dict[int, float]:
    """A metric by step, as the run's journal has it; where a step was redone, the first value."""
    found: dict[int, float] = {}
    with place.using_s3():
        forget_client()
        for event in event_journal.read(open_store(f"{place.storage}/{name}")):
            if key in event.metrics:
                found.setdefault(event.step, event.metrics[key])
    return found


def ledgers(place: Surroundings, name: str) -> dict[int, tuple[float, float, float]]:
    """Delivered, skipped and left over images by the epoch's last step."""
    keys = ("data/delivered", "data/skipped", "data/left_over")
    each = [series(place, name, key) for key in keys]
    return {step: (each[0][step], each[1][step], each[2][step]) for step in each[0]}


def agree(one: dict[int, float], two: dict[int, float], tolerance: float) -> bool:
    """Whether two metrics have the same steps, and values equal within a relative tolerance."""
    return one.keys() == two.keys() and all(
        math.isclose(one[step], two[step], rel_tol=tolerance, abs_tol=tolerance) for step in one
    )


def check_tracked(place: Surroundings, name: str, status: str) -> None:
    """Hold MLflow's run to the journal: one run, each metric once at each step, the true status.

    Raises:
        NotShownError: it is not so.
    """
    from mlflow.tracking import MlflowClient

    client = MlflowClient(place.mlflow_url)
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs: list[Any] = client.search_runs(experiments, f"tags.`mlflow.runName` = '{name}'")
    expect(len(runs) == 1, f"{len(runs)} runs in MLflow named {name}")
    (run,) = runs
    expect(run.info.status == status, f"run {name} is {run.info.status} in MLflow, not {status}")
    for key in ("train/loss", "val/top1", "data/batch_ids"):
        points = client.get_metric_history(run.info.run_id, key)
        steps = [point.step for point in points]
        expect(len(steps) == len(set(steps)), f"{key} of run {name}: steps appear twice")
        missing = set(series(place, name, key)) - set(steps)
        expect(not missing, f"{key} of run {name}: steps {sorted(missing)} are missing")


def finished(place: Surroundings, name: str) -> int:
    """The same for a run that has ended well; the steps that were redone."""
    check_tracked(place, name, "FINISHED")
    return place.steps_redone(name)


def damage(path: str, how: str, place: Surroundings) -> None:
    """Cut a file of a checkpoint in S3, flip a bit of it, or remove it."""
    where = {"Bucket": "checkpoints", "Key": f"drills/{path}"}
    whole = place.client.get_object(**where)["Body"].read()
    middle = len(whole) // 2
    if how == "missing":
        place.client.delete_object(**where)
        return
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    place.client.put_object(**where, Body=whole[:middle] if how == "cut" else flipped)


def file_steps(folder: Path) -> list[int]:
    """Steps of the complete checkpoints in a local run's folder."""
    return Checkpoints(open_store(str(folder)), 3).steps()


def _accept(meta: object, where: str) -> None:
    del meta, where


def _no_warning(text: str) -> None:
    expect(False, text)
