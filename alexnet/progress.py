"""What a run says while it goes: events, and their one-line form."""

from dataclasses import dataclass, field
from typing import Literal

from alexnet.ledger import Ledger


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened at a step, sent by rank 0 to whoever shows or records it."""

    kind: Literal["started", "progress", "evaluated"]
    step: int
    """Updates completed."""
    steps: int
    """Updates of the whole run."""
    epoch: float
    """Passes over the training split, with its fraction."""
    metrics: dict[str, float] = field(default_factory=dict)
    """`train/...`, `val/...` and `data/...` names, as MLflow gets them."""
    ledger: Ledger | None = None
    """Of the epoch that ended here."""


def line(event: Event) -> str:
    """One line for people and for grep: `key=value`, fixed digits.

    Fractions are in [0, 1]; `data_wait` is the share of time spent waiting for data.
    """
    parts = [f"step={event.step}/{event.steps}", f"epoch={event.epoch:.2f}"]
    parts += [f"{name}={_number(name, value)}" for name, value in event.metrics.items()]
    return " ".join([*parts, *(["resumed"] if event.kind == "started" and event.step else [])])


def _number(name: str, value: float) -> str:
    if name.endswith("_per_s") or name.startswith("data/"):
        return f"{value:.0f}"
    if name.endswith("learning_rate"):
        return f"{value:.3g}"
    return f"{value:.4f}"
