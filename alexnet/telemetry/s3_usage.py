"""Counts a process's S3 requests, bytes and errors.

The S3 adapter counts, loader processes hand their counts over with each batch, and the loop sums
them over the workers.
"""

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Literal

Kind = Literal["get", "put", "list", "delete"]
"""Of a request, as its price goes: `put` is all that writes, each part of a large object too."""

KINDS: tuple[Kind, ...] = ("get", "put", "list", "delete")

WHATS = ("requests", "bytes", "errors")
"""What is counted of each kind: every attempt; bytes of objects; attempts that broke or that the
server refused, though most are made again."""

NAMES = tuple(f"{kind}_{what}" for kind in KINDS for what in WHATS)
"""One for each count, in the order in which they are handed over."""

PREFIX = "data/s3_"
"""Of their names among an event's metrics."""


class Counter:
    """Counts of a process. Safe to share between threads."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin at 0."""
        self._lock = threading.Lock()  # a fork may have copied the old one held
        self._counts = [0] * len(NAMES)

    def add(self, kind: Kind, what: str, number: int = 1) -> None:
        """Count something."""
        with self._lock:
            self._counts[NAMES.index(f"{kind}_{what}")] += number

    def absorb(self, counts: Sequence[int]) -> None:
        """Add what another process has counted."""
        with self._lock:
            self._counts = [mine + its for mine, its in zip(self._counts, counts, strict=True)]

    def take(self) -> tuple[int, ...]:
        """What was counted since the last call, one number for each of `NAMES`."""
        with self._lock:
            taken, self._counts = tuple(self._counts), [0] * len(NAMES)
        return taken


OF_PROCESS = Counter()
"""Of this process."""

os.register_at_fork(after_in_child=OF_PROCESS.forget)


def metrics(counts: Sequence[float]) -> dict[str, float]:
    """Counts as an event has them; what was never asked is left out."""
    named = zip(NAMES, counts, strict=True)
    return {f"{PREFIX}{name}": float(count) for name, count in named if count}


class Totals:
    """What events have said so far; their counts start again when workers start."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(NAMES, 0)
        """By name."""
        self._said: dict[str, float] = {}

    def start(self) -> None:
        """Workers start."""
        self._said = {}

    def see(self, said: Mapping[str, float]) -> dict[str, int]:
        """What an event's metrics add, by name; nothing for one that comes late."""
        more = {}
        for name in NAMES:
            now, before = said.get(PREFIX + name, 0), self._said.get(name, 0)
            more[name] = int(max(0, now - before))
            self.counts[name] += more[name]
            self._said[name] = max(now, before)
        return more
