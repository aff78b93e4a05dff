"""Promotion and rollback: from the rules and a person's approval to the decision and its hook."""

import dataclasses
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alexnet.adapters.mlflow_registry import Registry, Version
from alexnet.config import GateConfig
from alexnet.promotion import decision_page, decisions
from alexnet.promotion.aliases import AliasReconciler
from alexnet.promotion.decisions import AliasTargets, Decision
from pipelines.steps import gate_evidence, text_table
from pipelines.steps.gate_evidence import Case, Judged

DONE, REFUSED, WAITING = 0, 3, 4
"""Exit statuses."""

APPROVAL, AGAINST, APPROVED = "approval", "approval_asked_against", "approved"
"""Tags of a version: whether a person has approved it, and against which champion; the value."""

HOOK_TIMEOUT_S = 300.0
"""Of the command that `registry.on_decision` names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PromotionRequest:
    """What is to be promoted, and how."""

    version: str
    """Number or alias."""
    data_url: str = ""
    """See `Case`."""
    force: str = ""
    """Reason for promoting it whatever the rules say; empty: they decide."""
    require_approval: bool = False
    dry_run: bool = False


def promote(
    reconciler: AliasReconciler, registry: Registry, settings: GateConfig, request: PromotionRequest
) -> int:
    """Hold a version to the rules, and let it become champion; the exit status.

    Raises:
        AlexNetError: it cannot be judged, or a server does not answer.
    """
    say, log = reconciler.say, reconciler.log
    made = log.read() if request.dry_run else reconciler.reconcile()
    version, champion = registry.find(request.version), decisions.current_aliases(made).champion
    if version.number == champion:
        say(f"{version.shown}: is champion already")
        return DONE
    case = Case(
        registry=registry,
        version=version,
        champion=registry.find(str(champion)) if champion else None,
        settings=settings,
        decisions=made,
        data_url=request.data_url,
        kept=None if request.dry_run else log.store,
        say=say,
    )
    judged = gate_evidence.judge(case)
    say(text_table.rules(judged.verdicts))
    good = all(each.holds for each in judged.verdicts)
    promoted = good or bool(request.force)
    if request.dry_run:
        say(f"{version.shown}: would be {'promoted' if promoted else 'refused'}")
        return DONE if promoted else REFUSED
    if (
        promoted
        and request.require_approval
        and not approval_given(registry, version, champion, say)
    ):
        return WAITING
    decision = _decision(
        made, version, judged, request.force if promoted else "", promoted=promoted
    )
    reconciler.decide(_with_page(reconciler, version, decision, judged))
    say(_summary(version, decision))
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


def _summary(version: Version, decision: Decision) -> str:
    broken = [each.rule for each in decision.verdicts if not each.holds]
    if decision.kind == "refused":
        return f"{version.shown}: refused by: {', '.join(broken)}; decision {decision.number}"
    by_force = f" by force, against: {', '.join(broken)}" if broken else ""
    return f"{version.shown}: is champion{by_force}; decision {decision.number}"


def approval_given(
    registry: Registry, version: Version, champion: int | None, say: Callable[[str], None]
) -> bool:
    """Whether a person has approved that a version takes the present champion's place.

    Asks for it otherwise. An approval given when another version was champion does not count.

    Raises:
        TrackingError: MLflow does not answer.
    """
    against = str(champion or "none")
    asked = version.tags.get(AGAINST) == against
    if asked and version.tags.get(APPROVAL, "").strip().lower() == APPROVED:
        return True
    if not asked or APPROVAL not in version.tags:
        registry.annotate(version.number, {APPROVAL: "asked for", AGAINST: against}, {})
    say(
        f"{version.shown}: waits for approval. Set its tag {APPROVAL} to {APPROVED} in MLflow, "
        "then give the same command again."
    )
    return False


def notifier(hook: Sequence[str], say: Callable[[str], None]) -> Callable[[Decision], object]:
    """A function that runs a command with the decision as JSON on its standard input.

    A command that fails is reported, and undoes nothing; an empty `hook` runs none.
    """

    def notify(decision: Decision) -> None:
        if not hook:
            return
        try:
            text = decision.to_json()
            subprocess.run(  # noqa: S603 - the command that the configuration names, and no shell
                list(hook), input=text, text=True, timeout=HOOK_TIMEOUT_S, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            say(f"registry.on_decision: {str(error).rstrip('.')}. The decision stands.")

    return notify


def roll_back(
    reconciler: AliasReconciler, registry: Registry, reason: str, *, dry_run: bool
) -> int:
    """Make the previous champion champion again; the exit status.

    Raises:
        PromotionError: there was none.
        ArtifactError: it is not any more what was registered.
        AlexNetError: a server does not answer.
    """
    made = reconciler.log.read() if dry_run else reconciler.reconcile()
    decision = decisions.rollback(made, reason)
    back = registry.find(str(decision.after.champion))
    with registry.fetched(back):  # its files are checked before it serves again
        pass
    if dry_run:
        reconciler.say(f"{back.shown}: would be champion again")
        return 0
    reconciler.decide(decision)
    reconciler.say(f"{back.shown}: is champion again, decision {decision.number}")
    return 0
