"""The result of one rule: what was found, what is wanted, and whether it holds."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RuleResult:
    """Of one rule."""

    rule: str
    found: str
    wanted: str
    holds: bool


def table(verdicts: Iterable[RuleResult]) -> str:
    """One line a rule, in columns."""
    rows = [("rule", "found", "wanted", "")]
    rows += [(v.rule, v.found, v.wanted, "yes" if v.holds else "NO") for v in verdicts]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for row in rows:
        cells = [f"{cell:{width}}" for cell, width in zip(row[:3], widths, strict=True)]
        lines.append("  ".join([*cells, row[3]]).rstrip())
    return "\n".join(lines)
