"""The events that a run reports, their one-line form, and their form in a file."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Literal

from alexnet import clock
from alexnet.errors import StoreError
from alexnet.storage.documents import Reader
from alexnet.telemetry import s3_usage
from alexnet.telemetry.epoch_ledger import Ledger

Kind = Literal["started", "progress", "evaluated", "nodes", "notice", "failed", "ended"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened at a step, sent by rank 0 to all listeners."""

    kind: Kind
    step: int
    """Updates completed."""
    steps: int
    """Updates of the whole run."""
    epoch: float
    """Passes over the training split, with its fraction."""
    time_ms: int = field(default_factory=clock.now_ms)
    """When it happened, in milliseconds since 1970; MLflow tells by it that a metric came twice."""
    metrics: dict[str, float] = field(default_factory=dict)
    """`train/...`, `val/...`, `data/...` and `system/...` names, as MLflow gets them."""
    ledger: Ledger | None = None
    """Of the epoch that ended here."""
    text: str = ""
    """Of a notice; of a failure, why workers start again."""
    workers: int = 0
    """Of a start: how many there are."""
    resumed_from_ms: int | None = None
    """Of a start that resumes from a checkpoint: when training was there before."""


def line(event: Event) -> str:
    """One line for people and for grep: `key=value`, fixed digits; or the text of a notice.

    Fractions are in [0, 1]; `data_wait` is the share of time spent waiting for data. What was asked
    of S3 is left out: it is in MLflow and in Prometheus.
    """
    if event.kind == "notice":
        return event.text
    parts = [f"step={event.step}/{event.steps}", f"epoch={event.epoch:.2f}"]
    shown = {k: v for k, v in event.metrics.items() if not k.startswith(s3_usage.PREFIX)}
    parts += [f"{name}={_number(name, value)}" for name, value in shown.items()]
    return " ".join([*parts, *(["resumed"] if event.kind == "started" and event.step else [])])


def to_json(event: Event) -> str:
    """The event as one line of JSON."""
    return json.dumps(dataclasses.asdict(event))


READER = Reader(Event, StoreError, "Restore it, or start anew with --fresh.")
"""Of one line of the journal."""


def _number(name: str, value: float) -> str:
    if name.endswith("_per_s") or name.startswith("data/"):
        return f"{value:.0f}"
    if name.endswith("learning_rate"):
        return f"{value:.3g}"
    return f"{value:.4f}"
