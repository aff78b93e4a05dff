"""Training and judging, as stages of a retraining that can be gone on with."""

import dataclasses
from collections.abc import Callable

from alexnet.adapters.console import Console
from alexnet.adapters.mlflow_registry import Registry, Version
from alexnet.adapters.object_store import open_store
from alexnet.classifier import WEIGHTS
from alexnet.config import NameConfig, RunConfig
from alexnet.promotion import decisions
from alexnet.promotion.aliases import AliasReconciler
from alexnet.promotion.decisions import DecisionLog
from alexnet.registry.artifact import DATA
from alexnet.retraining.limits import Limits
from alexnet.retraining.records import Retraining
from alexnet.runs import run_record
from alexnet.telemetry.events import Event
from alexnet.training import warm_start
from pipelines.steps import promotion, run_inputs, training
from pipelines.steps.promotion import PromotionRequest
from pipelines.steps.stop_request import StopRequest


def train(
    config: RunConfig,
    registry: Registry,
    current: Retraining,
    limits: Limits,
    stop: StopRequest,
    console: Console,
) -> Version | None:
    """The version that a retraining makes, or has made before; None if it was stopped.

    Args:
        config: as it is wanted; the data is that of the retraining, though newer may be there.
        registry: of the model.
        current: the retraining.
        limits: what it may take.
        stop: ends the training, with a checkpoint.
        console: shows what happens.

    Raises:
        AlexNetError: something that the user can mend; the next call goes on.
    """
    config = _pinned(config, current)
    run = open_store(f"{config.cluster.storage_url}/{current.run_name}")
    if current.parent and not run.exists(warm_start.NAME):
        with registry.fetched(registry.find(str(current.parent))) as (folder, _):
            warm_start.put(run, folder / DATA / WEIGHTS)
    if run.exists(run_record.NAME):
        record = run_record.read(run)
        if record.status == "FINISHED":  # and the retraining was killed before it knew
            return registry.made_by(record.key)

    def watch(event: Event, cost: float) -> None:
        reason = limits.exceeded(event, cost)
        if reason and not stop.why:
            stop.ask(reason)

    result = training.run(run_inputs.prepare(config), stop, console, [watch])
    return result.version if result else None


def with_cost(config: RunConfig, current: Retraining) -> Retraining:
    """The retraining with what its training has cost by now.

    Raises:
        CheckpointError: the training's record is damaged.
        StoreError: the storage cannot be reached.
    """
    run = open_store(f"{config.cluster.storage_url}/{current.run_name}")
    if not run.exists(run_record.NAME):
        return current
    record = run_record.read(run)
    return dataclasses.replace(current, cost=record.cost, currency=record.currency)


def judge(
    config: RunConfig,
    registry: Registry,
    current: Retraining,
    say: Callable[[str], None],
    *,
    approval: bool,
) -> int:
    """Promote the version or not, unless that was decided before; the exit status of it.

    Raises:
        AlexNetError: something that the user can mend; the next call goes on.
    """
    log = DecisionLog(open_store(registry.decisions_url()))
    told = promotion.notifier(config.registry.on_decision, say)
    reconciler = AliasReconciler(registry, log, told, say)
    decided = decisions.last_about(reconciler.reconcile(), current.version)
    if decided:
        return promotion.DONE if decided.kind == "promoted" else promotion.REFUSED
    request = PromotionRequest(version=str(current.version), require_approval=approval)
    return promotion.promote(reconciler, registry, config.gate, request)


def _pinned(config: RunConfig, to: Retraining) -> RunConfig:
    """The same as the run of a retraining: its data, its weights to begin with, its name."""
    return dataclasses.replace(
        run_inputs.pinned(config, to.ingredients.manifest_digest),
        run=NameConfig(name=to.run_name),
        train=dataclasses.replace(config.train, parent=to.parent_weights),
    )
