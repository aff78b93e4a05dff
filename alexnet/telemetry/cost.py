"""The cost of a training: its workers' time and its S3 requests, by the table of prices."""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

from alexnet.config import PriceConfig
from alexnet.telemetry import s3_usage
from alexnet.telemetry.events import Event

S_AN_HOUR = 3600


class Usage(NamedTuple):
    """What was used."""

    worker_s: float = 0.0
    """Seconds of all workers together, from their start on."""
    gets: int = 0
    """Requests to S3 that read an object."""
    puts: int = 0
    """Requests that write or list, which have the same price."""
    read_bytes: int = 0
    """Of objects, out of S3."""

    def plus(self, other: "Usage") -> "Usage":
        """Both together."""
        seconds, *counts = (mine + its for mine, its in zip(self, other, strict=True))
        return Usage(seconds, *map(int, counts))

    def since(self, before: "Usage") -> "Usage":
        """What has come to an earlier state."""
        seconds, *counts = (mine - its for mine, its in zip(self, before, strict=True))
        return Usage(seconds, *map(int, counts))


NOTHING = Usage()


class Cost(NamedTuple):
    """In the currency of the prices."""

    workers: float
    requests: float
    """To S3."""
    egress: float
    """Bytes out of S3."""

    @property
    def total(self) -> float:
        """Of all parts."""
        return sum(self)


def of(used: Usage, prices: PriceConfig) -> Cost:
    """What it costs."""
    return Cost(
        workers=used.worker_s / S_AN_HOUR * prices.per_worker_hour,
        requests=(used.gets * prices.per_1000_gets + used.puts * prices.per_1000_puts) / 1000,
        egress=used.read_bytes / 2**30 * prices.per_gib_read,
    )


def money(amount: float, currency: str) -> str:
    """An amount for people, small ones with two digits that say something."""
    digits = f"{amount:.2f}" if amount >= 1 or not amount else f"{amount:.2g}"
    return f"{digits} {currency}"


class Spending:
    """Follows the events of a run over its restarts.

    Workers are billed from their start to their last event; failed ones until their replacements
    start, because their nodes stay reserved. A pause between two commands costs nothing.
    """

    def __init__(self, prices: PriceConfig, used: Usage = NOTHING) -> None:
        """`used`: by earlier commands."""
        self.prices, self.used = prices, used
        self.workers = 0
        """Of the last start."""
        self.asked = s3_usage.Totals()
        """Of S3."""
        self.lost = 0.0
        """Of the cost, what this command has seen failures lose."""
        self._epoch_began_with = used
        self._since_ms: int | None = None
        """When this command last heard of workers; None before its first start."""
        self._unseen = False
        """Whether an earlier command was killed, whose last steps nobody has counted."""

    def replay(self, events: Iterable[Event]) -> None:
        """Compute again, because the last command was killed and could not write down its usage.

        How long the pauses were is not known: between two starts, only what was said counts.
        """
        self.used = NOTHING
        for event in sorted(events, key=lambda event: event.time_ms):
            if event.kind == "started":
                self._since_ms = None
            self.see(event)
        self._since_ms, self._unseen = None, True
        self._epoch_began_with = self.used

    @property
    def cost(self) -> Cost:
        """Of the run so far."""
        return of(self.used, self.prices)

    @property
    def currency(self) -> str:
        """Of the costs; empty where there are no prices."""
        return self.prices.currency if self.prices.known else ""

    def money(self, amount: float, before: str = "") -> str:
        """An amount for people, after this text; nothing where there are no prices."""
        return before + money(amount, self.currency) if self.currency else ""

    def see(self, event: Event) -> None:
        """Take an event into account."""
        began = event.kind == "started"
        if self._since_ms is not None:
            passed_ms = max(0, event.time_ms - self._since_ms)
            self._use(Usage(worker_s=self.workers * passed_ms / 1000))
            self._since_ms += passed_ms
        if began:
            self.workers, self._unseen = event.workers, False
            self.asked.start()
            self._since_ms = event.time_ms if self._since_ms is None else self._since_ms
        if self._since_ms is not None:
            self._use(self._asked_since(event.metrics))

    def lose(self, start: Event, seconds: float) -> float:
        """What a failure has cost by the start after it, which `see` gets next."""
        used = Usage(worker_s=(self.workers or start.workers) * seconds)
        if self._unseen:
            self._use(used)
        cost = of(used, self.prices).total
        self.lost += cost
        return cost

    def priced(self, event: Event) -> Event:
        """The event; at the end of an epoch with what that and the run have cost."""
        if event.kind != "evaluated" or not self.currency:
            return event
        epoch = of(self.used.since(self._epoch_began_with), self.prices).total
        self._epoch_began_with = self.used
        costs = {"cost/epoch": epoch, "cost/run": self.cost.total}
        return dataclasses.replace(event, metrics=event.metrics | costs)

    def account(self, lost: float) -> str:
        """The cost and its parts in one line; `lost`: of it, what failures have lost."""
        cost = self.cost
        parts = {"workers": cost.workers, "S3 requests": cost.requests, "S3 reads": cost.egress}
        shown = [f"{name} {self.money(part)}" for name, part in parts.items() if part]
        shown += [f"of it lost to failures {self.money(lost)}"] if lost else []
        return f"{self.money(cost.total)}: {', '.join(shown)}"

    def _use(self, used: Usage) -> None:
        self.used = self.used.plus(used)

    def _asked_since(self, metrics: dict[str, float]) -> Usage:
        more = self.asked.see(metrics)
        return Usage(
            gets=more["get_requests"],
            puts=more["put_requests"] + more["list_requests"],
            read_bytes=more["get_bytes"],
        )
