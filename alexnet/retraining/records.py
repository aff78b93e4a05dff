"""The records of retrainings of a model: why each was started, its state and its outcome.

Each is a file with a number in the storage. It is written before a step is started and after it is
done, so the next process knows where to resume.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from alexnet import clock
from alexnet.config import RunConfig
from alexnet.errors import RetrainingError
from alexnet.storage import documents, folders
from alexnet.storage.documents import Reader
from alexnet.storage.store import Store

State = Literal["training", "judging", "ended"]

Outcome = Literal["", "promoted", "refused", "waits for approval", "too long", "given up"]
"""What came of it; the first, as long as nothing has. One that waits for approval has not ended."""


class Ingredients(NamedTuple):
    """What decides what a training learns."""

    manifest_digest: str
    recipe_digest: str
    """`RunConfig.recipe_digest()`."""
    git_commit: str

    def differences(self, other: "Ingredients", *, code_counts: bool) -> list[str]:
        """Names of those that are not the same."""
        names = {"data": 0, "configuration": 1, "code": 2}
        if not code_counts:
            del names["code"]
        return [name for name, i in names.items() if self[i] != other[i]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Retraining:
    """One file."""

    number: int
    """From 1."""
    ingredients: Ingredients
    reason: str
    """Why it was started."""
    run_name: str
    """Of its training."""
    parent: int | None = None
    """Version whose weights the training begins with; None: random ones."""
    parent_weights: str = ""
    """SHA-256 (hex) of them."""
    state: State = "training"
    version: int | None = None
    """That the training has made."""
    outcome: Outcome = ""
    begun_ms: int = field(default_factory=clock.now_ms)
    """Since 1970."""
    ended_ms: int | None = None
    cost: float = 0.0
    """Of its training, by `[price]`."""
    currency: str = ""
    """Of the cost; empty where there are no prices."""

    def ended(self, outcome: Outcome) -> "Retraining":
        """The same, with what came of it."""
        now_ms = clock.now_ms()
        return dataclasses.replace(self, state="ended", outcome=outcome, ended_ms=now_ms)


def url(config: RunConfig) -> str:
    """The folder of a registered model's retrainings; no run has a name like it."""
    return folders.retrainings(config.cluster.storage_url, config.registry.model_name)


FOLDER = "retrainings/"


def write(store: Store, retraining: Retraining) -> None:
    """Put it in the folder, in place of what was there of it.

    Raises:
        StoreError: it cannot be written.
    """
    documents.write(store, f"{FOLDER}{retraining.number:06d}.json", retraining)


def read(store: Store) -> list[Retraining]:
    """All of them, in order.

    Raises:
        RetrainingError: one is damaged.
        StoreError: the store cannot be reached.
    """
    return [READER.read(store, name) for name in store.list() if name.startswith(FOLDER)]


READER = Reader(Retraining, RetrainingError, "Restore it.")


@dataclass(frozen=True, slots=True)
class Look:
    """When somebody last looked whether there was anything to do."""

    time_ms: int
    """Since 1970."""
    action: str
    """Of the plan that came of it."""
    reason: str


LOOK = "look.json"


def write_look(store: Store, action: str, reason: str) -> None:
    """Keep that somebody has looked now, and what came of it; a skip leaves no other trace.

    Raises:
        StoreError: it cannot be written.
    """
    look = Look(clock.now_ms(), action, reason)
    store.write(LOOK, (json.dumps(dataclasses.asdict(look)) + "\n").encode())


def read_look(store: Store) -> Look | None:
    """The last look; None before the first.

    Raises:
        RetrainingError: it is damaged.
        StoreError: the store cannot be reached.
    """
    if not store.exists(LOOK):
        return None
    return LOOK_READER.read(store, LOOK)


LOOK_READER = Reader(Look, RetrainingError, "Delete it.")
