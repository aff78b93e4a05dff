"""The record of a search: its trials, their results, and which one is best."""

import dataclasses
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from alexnet.errors import SearchError
from alexnet.storage import documents
from alexnet.storage.documents import Reader
from alexnet.storage.store import Store

NAME = "search.json"

SCHEMA = 1
"""Raise by one when a field is added, removed or changes meaning."""

Outcome = Literal["", "finished", "ended early", "diverged", "failed"]
"""The first, as long as nothing has come of it. One that failed is tried again by the next command,
as is one that was interrupted."""

DONE: tuple[Outcome, ...] = ("finished", "ended early", "diverged")


class Epoch(NamedTuple):
    """What validation says after an epoch of a trial."""

    number: int
    """From 1."""
    top1: float
    """In [0, 1]."""
    loss: float
    """Mean cross-entropy."""


class Ended(NamedTuple):
    """The end of a trial."""

    outcome: Outcome
    why: str = ""
    """Of one that diverged or failed."""
    last: Epoch | None = None
    """Of one that finished."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One training of a search."""

    number: int
    """From 0."""
    run_name: str
    """Of its training."""
    values: Mapping[str, Any]
    """By `section.key`; none are the run's own."""
    outcome: Outcome = ""
    why: str = ""
    """One that diverged or failed did so."""
    epochs: tuple[Epoch, ...] = ()
    cost: float = 0.0
    """By `[price]`."""

    @property
    def peak(self) -> Epoch:
        """The epoch with the highest top-1; of equals, the one with the lowest loss."""
        return max(self.epochs, key=lambda epoch: (epoch.top1, -epoch.loss))

    def seen(self, epoch: Epoch) -> "Trial":
        """The same after one more epoch; one that is known already changes nothing."""
        if any(epoch.number <= each.number for each in self.epochs):
            return self
        return dataclasses.replace(self, epochs=(*self.epochs, epoch))

    def ended(self, end: Ended) -> "Trial":
        """The same, with what came of it."""
        return dataclasses.replace(self, outcome=end.outcome, why=end.why)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchRecord:
    """What is written down of a search."""

    schema: int = SCHEMA
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    """Random; MLflow's run is found by it."""
    name: str
    """Of MLflow's run."""
    manifest_digest: str
    git_commit: str
    trials: tuple[Trial, ...] = ()
    currency: str = ""
    """Of the costs; empty where there are no prices."""

    @property
    def ranked(self) -> list[Trial]:
        """The finished trials, the best first; of equals, the one with the lowest number."""
        finished = [each for each in self.trials if each.outcome == "finished" and each.epochs]
        return sorted(finished, key=lambda trial: (-trial.peak.top1, trial.peak.loss))

    @property
    def best(self) -> Trial:
        """The first of `ranked`.

        Raises:
            SearchError: no trial has finished.
        """
        if self.ranked:
            return self.ranked[0]
        failed = [trial for trial in self.trials if trial.outcome == "failed"]
        if failed:
            advice = "The same command tries again those that failed."
        else:
            advice = "Search among other values."
        why = [f"trial {each.number}: {each.why}" for each in (failed or self.trials) if each.why]
        raise SearchError(f"{self.name}: no trial finished. {' '.join([*why[:1], advice])}")

    def having(self, trial: Trial) -> "SearchRecord":
        """The same with a trial in the place of what was known of it."""
        trials = [trial if each.number == trial.number else each for each in self.trials]
        return dataclasses.replace(self, trials=tuple(trials))

    def write(self, store: Store) -> None:
        """Put it in the search's folder.

        Raises:
            StoreError: it cannot be written.
        """
        documents.write(store, NAME, self)


def read(store: Store) -> SearchRecord:
    """The record in a search's folder.

    Raises:
        SearchError: it is damaged, or of another release.
        StoreError: there is none, or the store cannot be reached.
    """
    return READER.read(store, NAME)


READER = Reader(SearchRecord, SearchError, "Restore it, or delete it and start anew.")
