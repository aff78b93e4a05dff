"""Collects what the gate's rules ask about a version: files, latency, lineage, predictions."""

from collections.abc import Callable
from dataclasses import dataclass

from alexnet.adapters import mlflow_fresh_load
from alexnet.adapters.mlflow_registry import Registry, Version
from alexnet.adapters.object_store import open_store
from alexnet.config import GateConfig
from alexnet.dataset import manifest as manifests
from alexnet.dataset.manifest import Manifest
from alexnet.dataset.shard_reader import ShardReader
from alexnet.errors import ArtifactError, DataError
from alexnet.promotion import decision_page, eligibility, gate
from alexnet.promotion.decision_page import Changed
from alexnet.promotion.decisions import Decision
from alexnet.promotion.predictions import Predictions
from alexnet.registry import lineage_check
from alexnet.registry.lineage import Lineage
from alexnet.registry.rule_result import RuleResult
from alexnet.storage.store import Store
from pipelines.steps.stored_predictions import Evaluator


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Who is judged, against whom, and by which rules."""

    registry: Registry
    version: Version
    champion: Version | None
    settings: GateConfig
    decisions: list[Decision]
    data_url: str
    """Data set whose validation split counts; empty: the one that the version was trained on."""
    kept: Store | None
    """Folder for predictions; None: nothing is written."""
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of it."""

    verdicts: list[RuleResult]
    gained: list[Changed]
    lost: list[Changed]


def judge(case: Case) -> Judged:
    """Look at every rule.

    Raises:
        ArtifactError: the version is not what was registered.
        AlexNetError: the images cannot be read, or a server does not answer.
    """
    with case.registry.fetched(case.version) as (folder, made_from):
        loaded = mlflow_fresh_load.load(folder)
    settings = case.settings
    verdicts = [
        eligibility.loads(loaded.problem, loaded.difference),
        eligibility.latency(loaded.alone_ms, settings),
        eligibility.not_rolled_back(case.decisions, case.version.number),
        eligibility.ledger(made_from, settings),
        eligibility.code(made_from, settings),
        eligibility.lineage(_verified(made_from)),
    ]
    data = _data(made_from, case.data_url)
    with Evaluator(case.registry, data, case.kept, case.say) as evaluator:
        challenger = evaluator.predictions(case.version)
        champion, problem = _champion(case, evaluator)
    if problem:
        verdicts.append(RuleResult("champion", problem, "can be compared with", holds=False))
    store, manifest = data
    verdicts += gate.judge(champion, challenger, settings, manifest.classes)
    if not champion:
        return Judged(verdicts, [], [])
    reader = ShardReader(store, manifest.split("val"))
    gained, lost = (
        decision_page.changed(reader, ids, champion, challenger, manifest.classes)
        for ids in gate.changed_sides(champion, challenger)
    )
    return Judged(verdicts, gained, lost)


def _champion(case: Case, evaluator: Evaluator) -> tuple[Predictions | None, str]:
    """Predictions of the champion, or what keeps it from being compared with."""
    if not case.champion:
        return None, ""
    try:
        return evaluator.predictions(case.champion), ""
    except (ArtifactError, DataError) as error:
        return None, str(error)


def _data(made_from: Lineage, data_url: str) -> tuple[Store, Manifest]:
    known = f"{made_from.data_url}/{manifests.name_of(made_from.manifest_digest)}"
    folder, name = manifests.locate(data_url or known)
    store = open_store(folder)
    return store, manifests.read(store, name)


def _verified(made_from: Lineage) -> list[RuleResult]:
    store = open_store(made_from.data_url)
    problems = lineage_check.SizeCheck(store).all(lineage_check.shards(made_from))
    return lineage_check.verify(made_from, store, problems, "size")
