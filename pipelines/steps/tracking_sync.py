"""Delivers to MLflow what it has missed of a run, from the run's folder."""

import dataclasses
import threading

from alexnet.adapters.mlflow_tracking import TrackedRun
from alexnet.adapters.object_store import open_store
from alexnet.errors import ConfigError
from alexnet.runs import run_record
from alexnet.runs.run_record import RunRecord
from alexnet.storage.lease import Lease
from alexnet.storage.store import Store
from alexnet.telemetry import event_journal


def run(url: str, timeout_s: float) -> None:
    """Deliver what a run's folder has and MLflow has not, and print what was delivered.

    Raises:
        AlexNetError: there is no such run, another process works on it, or MLflow is away for
            longer than `timeout_s`.
    """
    store = open_store(url)
    if not store.exists(run_record.NAME):
        raise ConfigError(f"{store.url}: no {run_record.NAME}. Name the folder of a run.")
    lease = Lease(store)
    with lease.held(f"run {store.url}"):
        record = run_record.read(store)
        if record.status == "RUNNING":  # nobody is at work on it, so it was killed
            record = dataclasses.replace(record, status="KILLED")
            record.write(store)
        deliver(record, store, timeout_s)
        lease.check()


def deliver(record: RunRecord, store: Store, timeout_s: float) -> None:
    """Send what is missing, close the MLflow run, and say so."""
    tracked = TrackedRun(record, print)
    tracked.start()
    events = list(event_journal.read(store))
    tracked.catch_up(events, timeout_s, threading.Event())
    tracked.finish(record)
    print(
        f"{store.url}: {record.status}; its {len(events)} events are in MLflow run "
        f"{tracked.run_id} at {tracked.shown_uri}"
    )
