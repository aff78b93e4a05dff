"""The reference of the files that a training, a decision or a version leaves, from the code."""

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alexnet.classifier import About
from alexnet.promotion.decisions import Decision
from alexnet.promotion.predictions import Predictions
from alexnet.registry.lineage import Lineage
from alexnet.retraining.records import Look, Retraining
from alexnet.runs.checkpoint import CheckpointMeta
from alexnet.runs.run_record import RunRecord
from alexnet.search.record import SearchRecord
from alexnet.storage.lease import Holder
from alexnet.telemetry.events import Event
from infra.documentation.described import docstrings, shown, summary

DOCS = Path(__file__).resolve().parents[2] / "docs"

FILES: dict[str, tuple[type, str]] = {
    "run.json": (RunRecord, "`STORAGE/RUN/run.json`"),
    "Checkpoints: meta.json": (CheckpointMeta, "`STORAGE/RUN/step-NNNNNNNN/meta.json`"),
    "The journal": (Event, "a line of `STORAGE/RUN/journal/*.jsonl`"),
    "lease.json": (Holder, "`lease.json` in the folder of a run, a model's retrainings, a search"),
    "Retrainings": (Retraining, "`STORAGE/_retraining/MODEL/retrainings/NNNNNN.json`"),
    "look.json": (Look, "`STORAGE/_retraining/MODEL/look.json`"),
    "Searches": (SearchRecord, "`STORAGE/_search/NAME/search.json`"),
    "Decisions": (Decision, "`STORAGE/_registry/MODEL/decisions/NNNNNN.json`"),
    "Predictions": (Predictions, "`STORAGE/_registry/MODEL/predictions/*.safetensors`"),
    "lineage.json": (Lineage, "`artifacts/lineage.json` of a version"),
    "about.json": (About, "`artifacts/about.json` of a version"),
}
"""Heading -> what is written, and where."""


def reference() -> str:
    """All files, as Markdown."""
    parts: list[str] = []
    known: set[type] = set()
    for heading, (kind, where) in FILES.items():
        parts += [f"## {heading}", f"{where[0].upper()}{where[1:]}. {summary(kind)}"]
        parts += _fields(kind, known)
    parts += ["## The schema of manifest.json", _schema()]
    return "\n\n".join(parts)


def _fields(kind: type, known: set[type]) -> Iterator[str]:
    """A class's fields, then those of the classes in them that are not known yet."""
    texts, hints = docstrings(kind), typing.get_type_hints(kind)
    yield "\n".join(
        f"- `{name}` ({_linked(hint)}){': ' if name in texts else ''}{texts.get(name, '')}"
        for name, hint in hints.items()
    )
    for inner in dict.fromkeys(each for hint in hints.values() for each in _records(hint)):
        if inner in known:
            continue
        known.add(inner)
        form = ", as a list of its fields in this order" if issubclass(inner, tuple) else ""
        yield f"### {inner.__name__}"
        yield f"{summary(inner).rstrip('.') or inner.__name__}{form}."
        yield from _fields(inner, known)


def _linked(hint: Any) -> str:
    text = shown(hint)
    for inner in _records(hint):
        text = text.replace(inner.__name__, f"[{inner.__name__}](#{inner.__name__.lower()})")
    return text


def _records(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or hasattr(hint, "_fields")):
        yield hint
    for item in typing.get_args(hint):
        yield from _records(item)


def _schema() -> str:
    text = (DOCS / "manifest.schema.json").read_text()
    return f"```json\n{text}```"
