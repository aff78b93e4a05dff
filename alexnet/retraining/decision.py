"""Decides whether to start a retraining, resume an interrupted one, or do nothing."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from alexnet.retraining.records import Ingredients, Retraining


class Plan(NamedTuple):
    """What is to be done."""

    action: Literal["train", "continue", "skip"]
    reason: str


def plan(
    done: Sequence[Retraining],
    wanted: Ingredients,
    champion: tuple[int, Ingredients] | None,
    *,
    code_counts: bool,
) -> Plan:
    """Whether to retrain, and why.

    Args:
        done: all that were, in order.
        wanted: what would be trained with now.
        champion: number and ingredients of the version that would have to be beaten.
        code_counts: whether other code is a reason.
    """

    def new(other: Ingredients) -> list[str]:
        return wanted.differences(other, code_counts=code_counts)

    last = done[-1] if done else None
    if last and last.state != "ended" and _can_go_on(last, wanted):
        why = last.outcome or f"was interrupted while {last.state}"
        return Plan("continue", f"retraining {last.number} {why}")
    if champion and not new(champion[1]):
        return Plan("skip", f"champion version {champion[0]} has the same {_same(code_counts)}")
    if last and not new(last.ingredients):
        return Plan(
            "skip", f"retraining {last.number} had the same {_same(code_counts)}: {last.outcome}"
        )
    before = champion[1] if champion else last.ingredients if last else None
    return Plan("train", f"new {' and '.join(new(before))}" if before else "the first training")


def _can_go_on(last: Retraining, wanted: Ingredients) -> bool:
    """Newer data waits until the one under way has ended; but a person may not answer for weeks."""
    if last.outcome == "waits for approval":
        return last.ingredients.manifest_digest == wanted.manifest_digest
    return last.ingredients.recipe_digest == wanted.recipe_digest


def _same(code_counts: bool) -> str:
    return "data, configuration and code" if code_counts else "data and configuration"
