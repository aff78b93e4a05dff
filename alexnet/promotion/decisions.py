"""The numbered log of decisions about model versions, from which the aliases follow.

MLflow sets an alias to what was asked last, so two that promote at once could both win. Here each
decision is a file with the next number, made only if there is none: of two, one is made. Aliases
follow from the decisions, and a decision is marked as done when they do; so one that was cut off is
known, and can be completed by anybody.

Whether a store makes a file only if there is none is tried before each decision. Where it does not,
whoever sees another at it decides nothing.
"""

import getpass
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from alexnet import clock
from alexnet.config import RunConfig
from alexnet.errors import PromotionError
from alexnet.registry.rule_result import RuleResult
from alexnet.storage import claim, documents, folders
from alexnet.storage.documents import Reader
from alexnet.storage.store import CREATE, Store

SCHEMA = 1
"""Raise by one when a field is added, removed or changes meaning; keep a reader for the old."""

READ_THREADS = 16

Kind = Literal["promoted", "refused", "rolled back", "moved by hand"]


class AliasTargets(NamedTuple):
    """Versions that the aliases point at."""

    champion: int | None
    previous: int | None


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user without a name
        return f"unknown@{socket.gethostname()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One file."""

    schema: int = SCHEMA
    number: int
    """From 1."""
    kind: Kind
    version: int | None
    """That was decided about; None: the alias was taken away by hand."""
    before: AliasTargets
    after: AliasTargets
    reason: str = ""
    """A person's: why by force, or why back."""
    verdicts: tuple[RuleResult, ...] = ()
    """Of every rule that was looked at."""
    page: str = ""
    """File beside this one with the same for people; empty: there is none."""
    by: str = field(default_factory=_who)
    time_ms: int = field(default_factory=clock.now_ms)
    """Since 1970."""

    def to_json(self) -> str:
        """The decision as text."""
        return documents.to_json(self)


def url(config: RunConfig) -> str:
    """The folder of a registered model's decisions; no run has a name like it."""
    return folders.decisions(config.cluster.storage_url, config.registry.model_name)


def current_aliases(decisions: Iterable[Decision]) -> AliasTargets:
    """Who is champion, and who would be if that were rolled back."""
    line = champions(decisions)
    return AliasTargets(line[-1] if line else None, line[-2] if len(line) > 1 else None)


def champions(decisions: Iterable[Decision]) -> list[int]:
    """Champions up to the present one, without those that were rolled back."""
    line: list[int] = []
    for decision in decisions:
        if decision.kind == "rolled back":
            line.pop()
        elif decision.kind == "moved by hand" and decision.version is None:
            line.clear()
        elif decision.kind != "refused" and decision.version is not None:
            line.append(decision.version)
    return line


def last_about(decisions: Iterable[Decision], version: int | None) -> Decision | None:
    """The last time that a version was judged."""
    judged = [each for each in decisions if each.kind in ("promoted", "refused")]
    return next((each for each in reversed(judged) if each.version == version), None)


def rolled_back(decisions: Iterable[Decision], version: int) -> Decision | None:
    """The last decision that took a version's place away again, if it was not promoted since."""
    found = None
    for decision in decisions:
        if decision.kind == "rolled back" and decision.before.champion == version:
            found = decision
        elif decision.kind == "promoted" and decision.version == version:
            found = None
    return found


def rollback(made: Sequence[Decision], reason: str) -> Decision:
    """The decision that makes the champion of before champion again.

    Raises:
        PromotionError: there was none.
    """
    before, line = current_aliases(made), champions(made)
    if before.previous is None:
        raise PromotionError(
            f"champion {before.champion}: there was none before it to go back to. Promote another "
            "version."
        )
    return Decision(
        number=len(made) + 1,
        kind="rolled back",
        version=before.champion,
        before=before,
        after=AliasTargets(before.previous, line[-3] if len(line) > 2 else None),
        reason=reason,
    )


def history(decisions: Sequence[Decision]) -> str:
    """One line a decision, for people."""
    if not decisions:
        return "nothing was decided yet"
    return "\n".join(_line(decision) for decision in decisions)


def _line(decision: Decision) -> str:
    broken = [each.rule for each in decision.verdicts if not each.holds]
    why = f"; against: {', '.join(broken)}" if broken else ""
    why += f"; {decision.reason}" if decision.reason else ""
    champion = decision.after.champion or "none"
    return (
        f"{decision.number:4d}  {clock.readable(decision.time_ms)}  "
        f"version {decision.version or 'none'} {decision.kind}, "
        f"champion {champion}, by {decision.by}{why}"
    )


class DecisionLog:
    """The decisions about one registered model."""

    def __init__(self, store: Store) -> None:
        self.store = store
        """The folder; what else belongs to decisions may lie in it too."""
        self._read_before: dict[int, Decision] = {}

    def read(self) -> list[Decision]:
        """All of them, in order.

        Raises:
            PromotionError: one is damaged or missing.
            StoreError: the store cannot be reached.
        """
        names = [name for name in self.store.list() if name.startswith(_FOLDER)]
        numbers = sorted(int(name[len(_FOLDER) : -len(_FILE)]) for name in names if _FILE in name)
        if numbers != list(range(1, len(numbers) + 1)):
            raise PromotionError(
                f"{self.store.url}: there are decisions up to {numbers[-1]}, but not all of them. "
                "Restore those that are missing."
            )
        new = [number for number in numbers if number not in self._read_before]
        with ThreadPoolExecutor(READ_THREADS) as threads:
            self._read_before.update(zip(new, threads.map(self._read, new), strict=True))
        return [self._read_before[number] for number in numbers]

    def append(self, decision: Decision) -> None:
        """Make a decision, if no other was made since the ones that it follows.

        Raises:
            PromotionError: another was.
            LeaseError: another process is deciding, and the store cannot tell the two apart.
            StoreError: the store cannot be written.
        """
        if not self._create(_file(decision.number), decision.to_json().encode()):
            other = self._read(decision.number)
            raise PromotionError(
                f"decision {decision.number} has just been made by {other.by}: version "
                f"{other.version} {other.kind}. Give the command again to decide on top of it."
            )

    def is_done(self, decision: Decision) -> bool:
        """Whether all that follows from a decision was carried out."""
        return self.store.exists(_done(decision.number))

    def mark_done(self, decision: Decision) -> None:
        """Say that all that follows from a decision was carried out.

        Raises:
            StoreError: the store cannot be written.
        """
        self.store.write(_done(decision.number), b"")

    def _create(self, name: str, data: bytes) -> bool:
        """`Store.create`, also where that does not hold."""
        if not any(each.condition == CREATE for each in self.store.unmet_conditions()):
            return self.store.create(name, data)
        with claim.alone(self.store, name):
            if self.store.exists(name):
                return False
            self.store.write(name, data)
        return True

    def _read(self, number: int) -> Decision:
        return READER.read(self.store, _file(number))


READER = Reader(Decision, PromotionError, "Restore it.")

_FOLDER, _FILE = "decisions/", ".json"


def _file(number: int) -> str:
    return f"{_FOLDER}{number:06d}{_FILE}"


def _done(number: int) -> str:
    return f"{_FOLDER}{number:06d}.done"
