"""What a training prints of itself before and after it."""

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from alexnet.adapters.mlflow_registry import Version
from alexnet.adapters.ray_cluster import Resources
from alexnet.config import RegistryConfig
from alexnet.errors import StoreError
from alexnet.loading.epoch_plan import steps_and_remainder
from alexnet.runs.checkpoint import CheckpointMeta
from pipelines.steps.run_inputs import Inputs
from pipelines.steps.run_session import Session


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a training."""

    best: CheckpointMeta
    url: str
    """Of the best checkpoint."""
    version: Version


def opening(inputs: Inputs, resources: Resources) -> str:
    """What the run is, in one line."""
    config, manifest = inputs.config, inputs.manifest
    low, high = resources.min_workers, resources.max_workers
    train, val = manifest.num_samples("train"), manifest.num_samples("val")
    steps, left_over = steps_and_remainder(train, config.train.global_batch_size)
    return (
        f"run={inputs.record.name}{' (continued)' if inputs.continued else ''} "
        f"workers={low if low == high else f'{low}..{high}'} data={inputs.store.url} "
        f"manifest={manifest.digest[:12]} classes={len(manifest.classes)} "
        f"train_images={train} val_images={val} image_px={config.data.image_px} "
        f"width={config.model.width:g} epochs={config.train.epochs} "
        f"global_batch={config.train.global_batch_size} "
        f"updates_per_epoch={steps} "
        f"left_over_per_epoch={left_over}"
    )


def stopped(current: Session, why: str) -> str:
    """How the run was ended before its end."""
    inputs = current.inputs
    return (
        f"stopped by {why} at step {current.lease.step}; "
        f"{_saved(current)}. Run {inputs.record.name} is kept in {inputs.run_url}; the same "
        "command goes on with it, --fresh begins another."
    )


def _saved(current: Session) -> str:
    try:
        steps = current.checkpoints.steps()
    except StoreError as error:  # how the run ended is still true
        return str(error)
    return f"its last checkpoint is of step {steps[-1]}" if steps else "it has no checkpoint"


def closing(result: Result, seconds: float, current: Session) -> str:
    """The result, where it is, and what to try next."""
    metrics, version, tracked = result.best.metrics, result.version, current.tracked
    aliases = " and ".join(version.aliases)
    serve = f"mlflow models serve -m models:/{version.name}/{version.number} --env-manager local"
    promote = f"python pipelines/promote.py {version.number}"
    if version.name != RegistryConfig().model_name:
        promote += f" --set registry.model_name={version.name}"
    if tracked.shown_uri.startswith("sqlite"):
        curves = f"mlflow ui --backend-store-uri {tracked.shown_uri}    # the run's curves"
    else:
        curves = f"{tracked.shown_uri}    the run's curves"
        serve = f"MLFLOW_TRACKING_URI={tracked.shown_uri} {serve}"
        promote = f"MLFLOW_TRACKING_URI={tracked.shown_uri} {promote}"
    lost = sum(each.cost for each in current.record.lost)
    cost = [f"cost        {current.spending.account(lost)}"] if current.spending.currency else []
    lines = [
        "",
        f"best        top-1 {metrics['top1']:.4f}, top-5 {metrics['top5']:.4f}, "
        f"loss {metrics['loss']:.4f} at step {result.best.step}",
        f"checkpoint  {result.url}",
        f"duration    {seconds:.0f} s",
        *cost,
        f"MLflow run  {tracked.run_id} at {tracked.shown_uri}",
        f"registered  {version.name} version {version.number}, alias {aliases}",
        "",
        "next:",
        *_activation(),
        f"  {curves}",
        f"  {serve}",
        f"  {promote}    # champion, if the gate lets it",
        "  the same command with --set train.seed=1: other random draws",
    ]
    return "\n".join(lines)


def _activation() -> list[str]:
    """The line that puts this environment's programs on the path, where they are not."""
    activate = Path(sys.executable).with_name("activate")
    found = shutil.which("mlflow")
    if not activate.exists() or (found and Path(found).parent == activate.parent):
        return []
    return [f"  source {shlex.quote(os.path.relpath(activate))}"]
