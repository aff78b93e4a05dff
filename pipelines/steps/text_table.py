"""Tables in lines of text, for a terminal."""

from collections.abc import Iterable, Sequence
from typing import Literal

from alexnet.registry.rule_result import RuleResult
from alexnet.search.record import Trial


def rules(results: Iterable[RuleResult]) -> str:
    """What each rule found and wanted, and whether it holds."""
    rows = [(each.rule, each.found, each.wanted, "yes" if each.holds else "NO") for each in results]
    return "\n".join(_lines([("rule", "found", "wanted", ""), *rows], "<"))


def trials(found: Sequence[Trial]) -> list[str]:
    """A line each, in the order given; a column for every key that one of them changes."""
    keys = list(dict.fromkeys(key for trial in found for key in trial.values))
    heads = ("trial", "outcome", "epochs", "top-1", "loss", *keys)
    return _lines([heads, *(_trial(each, keys) for each in found)], ">")


def _trial(trial: Trial, keys: Sequence[str]) -> list[str]:
    shown = [f"{trial.peak.top1:.4f}", f"{trial.peak.loss:.4f}"] if trial.epochs else ["-", "-"]
    values = [str(trial.values.get(key, "as it is")) for key in keys]
    return [
        str(trial.number),
        trial.outcome or "not ended",
        str(len(trial.epochs)),
        *shown,
        *values,
    ]


def _lines(rows: Sequence[Sequence[str]], align: Literal["<", ">"]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [f"{cell:{align}{width}}" for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines
