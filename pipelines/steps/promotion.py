"""What a promotion does, from the rules to the aliases."""

import dataclasses
from dataclasses import dataclass

from alexnet.adapters.mlflow_registry import Registry, Version
from alexnet.config import GateConfig
from alexnet.promotion import decision_page, decisions
from alexnet.promotion.aliases import AliasReconciler
from alexnet.promotion.decisions import AliasTargets, Decision
from alexnet.registry import rule_result
from pipelines.steps import approval, gate_evidence
from pipelines.steps.gate_evidence import Case, Judged

DONE, REFUSED, WAITING = 0, 3, 4
"""Exit statuses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What the one who promotes wants."""

    version: str
    """Number or alias."""
    data_url: str = ""
    """See `Case`."""
    force: str = ""
    """Reason for promoting it whatever the rules say; empty: they decide."""
    require_approval: bool = False
    dry_run: bool = False


def promote(
    reconciler: AliasReconciler, registry: Registry, settings: GateConfig, wish: Wish
) -> int:
    """Hold a version to the rules, and let it become champion; the exit status.

    Raises:
        AlexNetError: it cannot be judged, or a server does not answer.
    """
    say, log = reconciler.say, reconciler.log
    made = log.read() if wish.dry_run else reconciler.reconcile()
    version, champion = registry.find(wish.version), decisions.current_aliases(made).champion
    if version.number == champion:
        say(f"{version.shown}: is champion already")
        return DONE
    case = Case(
        registry=registry,
        version=version,
        champion=registry.find(str(champion)) if champion else None,
        settings=settings,
        decisions=made,
        data_url=wish.data_url,
        kept=None if wish.dry_run else log.store,
        say=say,
    )
    judged = gate_evidence.judge(case)
    say(rule_result.table(judged.verdicts))
    good = all(each.holds for each in judged.verdicts)
    promoted = good or bool(wish.force)
    if wish.dry_run:
        say(f"{version.shown}: would be {'promoted' if promoted else 'refused'}")
        return DONE if promoted else REFUSED
    if promoted and wish.require_approval and not approval.given(registry, version, champion, say):
        return WAITING
    decision = _decision(made, version, judged, wish.force if promoted else "", promoted=promoted)
    reconciler.decide(_with_page(reconciler, version, decision, judged))
    say(_told(version, decision))
    return DONE if promoted else REFUSED


def _decision(
    made: list[Decision], version: Version, judged: Judged, force: str, *, promoted: bool
) -> Decision:
    before = decisions.current_aliases(made)
    return Decision(
        number=len(made) + 1,
        kind="promoted" if promoted else "refused",
        version=version.number,
        before=before,
        after=AliasTargets(version.number, before.champion) if promoted else before,
        reason=force,
        verdicts=tuple(judged.verdicts),
    )


def _with_page(
    reconciler: AliasReconciler, version: Version, decision: Decision, judged: Judged
) -> Decision:
    page = f"pages/{version.number}-{decision.time_ms}.html"
    text = decision_page.to_html(version.shown, decision, judged.gained, judged.lost)
    reconciler.log.store.write(page, text.encode())
    return dataclasses.replace(decision, page=page)


def _told(version: Version, decision: Decision) -> str:
    broken = [each.rule for each in decision.verdicts if not each.holds]
    if decision.kind == "refused":
        return f"{version.shown}: refused by: {', '.join(broken)}; decision {decision.number}"
    by_force = f" by force, against: {', '.join(broken)}" if broken else ""
    return f"{version.shown}: is champion{by_force}; decision {decision.number}"
