"""One screen about a registered model: aliases, retrainings, decisions, running processes."""

from datetime import UTC, datetime

from alexnet import clock
from alexnet.adapters import mlflow_connection
from alexnet.adapters.mlflow_registry import Registry, Version
from alexnet.adapters.object_store import open_store
from alexnet.config import RunConfig
from alexnet.promotion import decisions
from alexnet.promotion.decisions import DecisionLog
from alexnet.retraining import records, schedule
from alexnet.retraining.records import Retraining
from alexnet.telemetry.cost import money
from pipelines.steps import active_processes

MOST = 10
"""Retrainings and decisions that are shown."""


def text(config: RunConfig) -> str:
    """What the registry and the storage hold now.

    Raises:
        AlexNetError: one of them does not answer, or holds something damaged.
    """
    mlflow_connection.connect()
    registry = Registry(config.registry.model_name)
    held = {alias: registry.held(alias) for alias in ("champion", "previous", "challenger")}
    made = DecisionLog(open_store(registry.decisions_url())).read() if registry.exists() else []
    parts = [
        [f"{alias:11} {_version(version)}" for alias, version in held.items()],
        _beside("at work", active_processes.lines(config) or ["nobody"]),
        [f"{'looked':11} {_looked(config)}", f"{'next':11} {_next(config)}"],
        ["", "retrainings", *_retrainings(config)],
        ["", "decisions", *decisions.history(made[-MOST:]).splitlines()],
    ]
    return "\n".join(line for part in parts for line in part)


def _beside(head: str, texts: list[str]) -> list[str]:
    return [f"{'' if number else head:11} {text}" for number, text in enumerate(texts)]


def _version(version: Version | None) -> str:
    if not version:
        return "none"
    return (
        f"version {version.number}, top-1 {float(version.tags.get('top1', 'nan')):.4f}, "
        f"{version.tags.get('decision', 'not judged')}, data "
        f"{version.tags.get('manifest_digest', 'unknown')[:12]}, code "
        f"{version.tags.get('git_commit', 'unknown')[:12]}"
    )


def _looked(config: RunConfig) -> str:
    look = records.read_look(open_store(records.url(config)))
    return f"{clock.readable(look.time_ms)}, {look.action}: {look.reason}" if look else "never"


def _next(config: RunConfig) -> str:
    cron, timezone = config.retrain.schedule, config.retrain.timezone
    if not cron:
        return "no retrain.schedule"
    tick = schedule.next_after(cron, timezone, datetime.now(UTC))
    return f"{clock.readable(int(tick.timestamp() * 1000))}, by {cron} {timezone}"


def _retrainings(config: RunConfig) -> list[str]:
    done = records.read(open_store(records.url(config)))
    return [_retraining(each) for each in done[-MOST:]] or ["  none"]


def _retraining(each: Retraining) -> str:
    took = f", {(each.ended_ms - each.begun_ms) / 60_000:.1f} min" if each.ended_ms else ""
    cost = f", cost {money(each.cost, each.currency)}" if each.cost else ""
    version = f"version {each.version} " if each.version else ""
    return (
        f"{each.number:4d}  {clock.readable(each.begun_ms)}  "
        f"{version}{each.outcome or each.state}; {each.reason}{took}{cost}"
    )
