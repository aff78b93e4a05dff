"""Rules about a version itself, whatever its accuracy: lineage, latency, rollbacks, code.

Rules about how well it does are in `alexnet/promotion/gate.py`.
"""

from collections.abc import Sequence

from alexnet.config import GateConfig
from alexnet.promotion.decisions import Decision, rolled_back
from alexnet.registry.lineage import Lineage
from alexnet.registry.probe import TOLERANCE
from alexnet.registry.rule_result import RuleResult


def loads(problem: str, difference: float) -> RuleResult:
    """Whether MLflow loads it in a fresh process, and it is the network that was registered.

    Args:
        problem: why it could not be loaded; empty if it could.
        difference: largest between a logit of the probe and the one that was registered.
    """
    found = problem or f"logits differ by {difference:.2g}"
    return RuleResult(
        "loads in a fresh process", found, f"at most {TOLERANCE:g}", difference <= TOLERANCE
    )


def latency(alone_ms: float, settings: GateConfig) -> RuleResult:
    """Whether one image is fast enough."""
    most = settings.max_latency_ms
    found = f"{alone_ms:.1f} ms"
    return RuleResult("latency of one image", found, f"at most {most:g} ms", alone_ms <= most)


def not_rolled_back(decisions: Sequence[Decision], version: int) -> RuleResult:
    """Whether nobody has found it wanting after it was champion."""
    back = rolled_back(decisions, version)
    found = f"decision {back.number}: {back.reason}" if back else "never"
    return RuleResult("rolled back before", found, "never", not back)


def ledger(made_from: Lineage, settings: GateConfig) -> RuleResult:
    """Whether training saw the samples that it was to see."""
    epochs = made_from.ledger
    skipped = sum(epoch.skipped for epoch in epochs)
    worst = max((epoch.skipped / epoch.expected for epoch in epochs), default=0.0)
    whole = all(
        epoch.delivered + epoch.skipped + epoch.left_over == epoch.expected for epoch in epochs
    )
    found = f"{len(epochs)} epochs, {skipped} samples skipped"
    found += "" if whole else ", counts that do not add up"
    wanted = f"at most {settings.max_skipped_share:g} of an epoch skipped"
    holds = bool(epochs) and whole and worst <= settings.max_skipped_share
    return RuleResult("ledger", found, wanted, holds)


def code(made_from: Lineage, settings: GateConfig) -> RuleResult:
    """Whether the code that trained it can be found again."""
    commit, _, changed = made_from.git_commit.partition("-")
    found = f"{commit[:12]}, with changes" if changed else commit[:12]
    wanted = "a commit without changes" if settings.require_clean_tree else "not asked for"
    return RuleResult(
        "code", found, wanted, made_from.tree_is_clean or not settings.require_clean_tree
    )


def lineage(verified: Sequence[RuleResult]) -> RuleResult:
    """Whether all that it was made from is there, see `alexnet/registry/lineage_check.py`."""
    broken = [f"{each.rule}: {each.found}" for each in verified if not each.holds]
    shown = "; ".join(broken) or ", ".join(f"{each.rule} {each.found}" for each in verified)
    return RuleResult("lineage", shown, "all of it holds", not broken)
