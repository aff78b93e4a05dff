"""Prometheus metrics of a registered model: champion, retrainings, decisions."""

import typing
from collections import defaultdict
from collections.abc import Iterator

from alexnet.adapters.mlflow_registry import Registry
from alexnet.adapters.object_store import open_store
from alexnet.config import RunConfig
from alexnet.promotion.decisions import DecisionLog
from alexnet.retraining import records
from alexnet.retraining.records import Outcome, Retraining
from alexnet.storage import lease
from alexnet.telemetry import prometheus_metrics
from alexnet.telemetry.prometheus_metrics import Sample


def samples(config: RunConfig) -> Iterator[Sample]:
    """What the registry and the storage say now.

    Raises:
        AlexNetError: one of them does not answer.
    """
    name = config.registry.model_name
    registry, store, labels = Registry(name), open_store(records.url(config)), {"model": name}
    champion = registry.held("champion")
    yield Sample(prometheus_metrics.CHAMPION, champion.number if champion else 0, labels)
    if champion and "top1" in champion.tags:
        yield Sample(prometheus_metrics.CHAMPION_TOP1, float(champion.tags["top1"]), labels)
    yield from _retrainings(records.read(store), labels)
    look = records.read_look(store)
    if look:
        yield Sample(prometheus_metrics.LOOKED, look.time_ms / 1000, labels)
    holder = lease.read(store)
    at_work = holder is not None and not holder.is_dead
    yield Sample(prometheus_metrics.RETRAINING_AT_WORK, int(at_work), labels)
    made = DecisionLog(open_store(registry.decisions_url())).read() if registry.exists() else []
    if made:
        yield Sample(prometheus_metrics.LAST_DECISION, made[-1].time_ms / 1000, labels)


def _retrainings(done: list[Retraining], labels: dict[str, str]) -> Iterator[Sample]:
    for outcome in filter(None, typing.get_args(Outcome)):
        number = sum(each.outcome == outcome for each in done)
        yield Sample(prometheus_metrics.RETRAININGS, number, {**labels, "outcome": outcome})
    costs: dict[str, float] = defaultdict(float)
    for each in done:
        costs[each.currency] += each.cost
    for currency in filter(None, costs):
        yield Sample(
            prometheus_metrics.RETRAINING_COST, costs[currency], {**labels, "currency": currency}
        )
    if done:
        yield Sample(prometheus_metrics.RETRAINING_BEGUN, done[-1].begun_ms / 1000, labels)
    ended = [each.ended_ms for each in done if each.ended_ms]
    if ended:
        yield Sample(prometheus_metrics.RETRAINING_ENDED, max(ended) / 1000, labels)
