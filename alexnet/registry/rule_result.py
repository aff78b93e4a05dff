"""The result of one rule: what was found, what is wanted, and whether it holds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RuleResult:
    """Of one rule."""

    rule: str
    found: str
    wanted: str
    holds: bool
