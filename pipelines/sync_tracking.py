"""Deliver what MLflow has missed of a run: its metrics, and how it ended.

A run's next start does the same. This is for runs that have no next start.
"""

import argparse
import dataclasses
import sys
import threading
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from alexnet.adapters.mlflow_tracking import TrackedRun
from alexnet.adapters.object_store import open_store
from alexnet.errors import ConfigError
from alexnet.runs import run_record
from alexnet.runs.run_record import RunRecord
from alexnet.storage.lease import Lease
from alexnet.storage.store import Store
from alexnet.telemetry import event_journal
from pipelines import _command


def run(args: argparse.Namespace) -> None:
    """Deliver, and say what was delivered."""
    if args.timeout < 0:
        raise ConfigError(f"--timeout {args.timeout:g}: must be 0 or more seconds.")
    store = open_store(args.run)
    if not store.exists(run_record.NAME):
        raise ConfigError(f"{store.url}: no {run_record.NAME}. Name the folder of a run.")
    lease = Lease(store)
    with lease.held(f"run {store.url}"):
        record = run_record.read(store)
        if record.status == "RUNNING":  # nobody is at work on it, so it was killed
            record = dataclasses.replace(record, status="KILLED")
            record.write(store)
        deliver(record, store, args.timeout)
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


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python pipelines/sync_tracking.py",
        description=__doc__,
        epilog="Exit status: 0 delivered, 2 an error to act on.",
    )
    parser.add_argument("run", help="folder of the run, local or s3://bucket/prefix/NAME")
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="wait so long for an MLflow that does not answer (%(default)s)",
    )
    args = parser.parse_args(argv)
    return _command.guarded("sync_tracking", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
