"""A retraining: plan, train, judge. Each stage is recorded, and resumed if interrupted."""

import dataclasses
from collections.abc import Callable

from alexnet import classifier
from alexnet.adapters import console
from alexnet.adapters.console import Console
from alexnet.adapters.mlflow_registry import WEIGHTS, Registry, Version
from alexnet.adapters.object_store import open_store
from alexnet.config import NameConfig, RunConfig
from alexnet.promotion import decisions
from alexnet.promotion.aliases import AliasReconciler
from alexnet.promotion.decisions import DecisionLog
from alexnet.registry.artifact import DATA
from alexnet.retraining import decision, records
from alexnet.retraining.decision import Plan
from alexnet.retraining.limits import Limits
from alexnet.retraining.records import Ingredients, Outcome, Retraining
from alexnet.runs import code_version, run_record
from alexnet.storage import folders
from alexnet.storage.lease import Lease
from alexnet.storage.store import Store
from alexnet.telemetry.events import Event
from alexnet.training import warm_start
from pipelines.steps import promotion, run_inputs, training
from pipelines.steps.promotion import PromotionRequest
from pipelines.steps.stop_request import StopRequest

OUTCOMES: dict[int, Outcome] = {
    promotion.DONE: "promoted",
    promotion.REFUSED: "refused",
    promotion.WAITING: "waits for approval",
}
"""By exit status of a promotion."""


class Retrainer:
    """Of the retrainings of one registered model."""

    def __init__(self, config: RunConfig, store: Store, *, require_approval: bool) -> None:
        """Do nothing yet.

        Args:
            config: of what is trained, as it is wanted now.
            store: folder of the retrainings.
            require_approval: promote only what a person has approved.
        """
        self._config, self._store, self._require_approval = config, store, require_approval
        self._registry = Registry(config.registry.model_name)
        _, manifest = run_inputs.open_data(config)
        self._wanted = Ingredients(manifest.digest, config.recipe_digest(), code_version.current())
        self._console = console.opened()
        self.stop = StopRequest(self._console.say)

    def plan(self) -> tuple[Plan, list[Retraining]]:
        """What is to be done, and what was done."""
        done, version = records.read(self._store), self._registry.held("champion")
        champion = None
        if version:
            names = ("manifest_digest", "recipe_digest", "git_commit")
            champion = version.number, Ingredients(*(version.tags.get(name, "") for name in names))
        code_counts = self._config.retrain.on_code_change
        return decision.plan(done, self._wanted, champion, code_counts=code_counts), done

    def run(self, lease: Lease) -> int:
        """Do it; the exit status.

        Raises:
            AlexNetError: something that the user can fix; the next call continues.
        """
        plan, done = self.plan()
        records.write_look(self._store, *plan)
        self._console.say(f"{self._registry.name}: {plan.action}: {plan.reason}")
        if plan.action == "skip":
            return 0
        current = done[-1] if plan.action == "continue" else self._begin(plan, done, lease)
        if current.state == "training":
            limits = Limits(self._config.retrain, current.begun_ms)
            version = train(self._config, self._registry, current, limits, self.stop, self._console)
            if not version:
                return self._stopped(current, lease)
            current = dataclasses.replace(current, state="judging", version=version.number)
            self._write(current, lease)
        return self._judge(current, lease)

    def _begin(self, plan: Plan, done: list[Retraining], lease: Lease) -> Retraining:
        if done and done[-1].state != "ended":
            self._write(done[-1].ended("given up"), lease)
        number = len(done) + 1
        begun = Retraining(
            number=number,
            ingredients=self._wanted,
            reason=plan.reason,
            run_name=f"{self._config.name}-retraining-{number:04d}",
        )
        champion = self._registry.held("champion") if self._config.retrain.warm_start else None
        if champion:
            begun = dataclasses.replace(
                begun, parent=champion.number, parent_weights=champion.tags[WEIGHTS]
            )
        self._write(begun, lease)
        return begun

    def _stopped(self, current: Retraining, lease: Lease) -> int:
        if self.stop.signal:
            return 128 + self.stop.signal
        self._write(current.ended("too long"), lease)
        return promotion.REFUSED

    def _judge(self, current: Retraining, lease: Lease) -> int:
        known, say = (self._config, self._registry, current), self._console.say
        status = judge(*known, say, approval=self._require_approval)
        outcome = OUTCOMES[status]
        waits = dataclasses.replace(current, outcome=outcome)
        self._write(waits if status == promotion.WAITING else current.ended(outcome), lease)
        say(f"retraining {current.number}: version {current.version} {outcome}")
        return status

    def _write(self, current: Retraining, lease: Lease) -> None:
        lease.check()
        records.write(self._store, with_cost(self._config, current))


def train(
    config: RunConfig,
    registry: Registry,
    current: Retraining,
    limits: Limits,
    stop: StopRequest,
    console: Console,
) -> Version | None:
    """The version that a retraining makes, or has made before; None if `stop` or a limit ended it.

    The data is that of the retraining, though newer may be there.

    Raises:
        AlexNetError: something that the user can fix; the next call continues.
    """
    config = _pinned(config, current)
    run = open_store(folders.run(config.cluster.storage_url, current.run_name))
    if current.parent and not run.exists(warm_start.NAME):
        with registry.fetched(registry.find(str(current.parent))) as (folder, _):
            warm_start.put(run, folder / DATA / classifier.WEIGHTS)
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
    run = open_store(folders.run(config.cluster.storage_url, current.run_name))
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
        AlexNetError: something that the user can fix; the next call continues.
    """
    log = DecisionLog(open_store(registry.decisions_url()))
    notify = promotion.notifier(config.registry.on_decision, say)
    reconciler = AliasReconciler(registry, log, notify, say)
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
