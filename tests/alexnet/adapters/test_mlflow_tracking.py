"""A run is found again, and each metric arrives once, however long the tracker was away."""

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from alexnet.adapters.mlflow_connection import tracking_uri
from alexnet.adapters.mlflow_tracking import TrackedRun
from alexnet.errors import TrackingError, TrackingUnavailableError
from alexnet.runs.run_record import LostWork
from alexnet.telemetry.epoch_ledger import Ledger, Skipped
from alexnet.telemetry.events import Event
from infra.processes import free_ports
from tests.alexnet.adapters.faulty_proxy import faulty_proxy
from tests.tiny_data import new_record, tiny_run

UNAVAILABLE = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


@pytest.fixture
def record(tiny, tiny_url):
    return new_record(tiny_run(tiny_url), tiny[1], "tiny-1")


@pytest.fixture
def start(record, monkeypatch):
    """Begin or go on with the run at a tracker."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def start(uri, say=print):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        tracked = TrackedRun(record, say)
        tracked.start()
        return tracked

    return start


def event(step, value, time_ms=1_700_000_000_000):
    metrics = {"train/loss": value}
    return Event(
        kind="progress", step=step, steps=10, epoch=0.0, time_ms=time_ms + step, metrics=metrics
    )


def history(uri, run_id, key="train/loss"):
    points = MlflowClient(uri).get_metric_history(run_id, key)
    return sorted((point.step, point.value) for point in points)


def finished(tracked, events=(), status="FINISHED", lost=()):
    tracked.catch_up(events, 60, threading.Event())
    tracked.finish(dataclasses.replace(tracked.record, status=status, lost=tuple(lost)))


@pytest.mark.slow
def test_metrics_wait_for_a_tracker_that_is_away_and_arrive_once(start, mlflow_url):
    said = []
    with faulty_proxy(mlflow_url, faults=0) as proxy:
        tracked = start(proxy.url, said.append)
        assert not said
        proxy.break_next(2, UNAVAILABLE)
        for step in (1, 2, 3):
            tracked.log(event(step, 4.0 - step))
        finished(tracked)
    problem, answers = said
    assert problem.startswith(f"MLflow at {proxy.url}: does not answer")
    assert problem.endswith("Metrics are kept, and delivered when it does.")
    assert answers == f"MLflow at {proxy.url}: answers again; no metric is lost."
    assert history(mlflow_url, tracked.run_id) == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert MlflowClient(mlflow_url).get_run(tracked.run_id).info.status == "FINISHED"


@pytest.mark.slow
def test_a_run_is_found_again_and_what_it_has_is_not_sent_again(start, mlflow_url):
    first = start(mlflow_url)
    finished(first, [event(1, 3.0), event(2, 2.0)], status="KILLED")
    again = start(mlflow_url)
    assert again.run_id == first.run_id
    client = MlflowClient(mlflow_url)
    assert client.get_run(first.run_id).info.status == "RUNNING"
    # Step 2 is done again, later and with another value; step 3 is new.
    redone = [event(2, 2.5, time_ms=1_800_000_000_000), event(3, 1.0)]
    finished(again, [event(1, 3.0), *redone], lost=[LostWork("worker 0: killed", 1, 1, 12.5)])
    assert history(mlflow_url, first.run_id) == [(1, 3.0), (2, 2.0), (3, 1.0)]
    run = client.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["failures"] == run.data.tags["steps_redone"] == "1"
    lost = json.loads(mlflow.artifacts.load_text(f"runs:/{first.run_id}/lost_work.json"))
    assert lost[0]["reason"] == "worker 0: killed"


@pytest.mark.slow
def test_a_tracker_that_is_away_from_the_start_gets_all_of_it_later(start, mlflow_url, monkeypatch):
    said = []
    away = f"http://127.0.0.1:{free_ports(1)[0]}"
    first = start(away, said.append)
    first.replay([event(0, 4.0)])
    first.log(event(1, 3.0))
    with pytest.raises(TrackingUnavailableError, match=f"MLflow at {away}: does not answer"):
        first.catch_up([event(0, 4.0)], 0, threading.Event())
    assert len(said) == 1
    assert first.undelivered == [event(1, 3.0)]  # the journal has the other
    again = start(mlflow_url)
    finished(again, first.undelivered)
    assert history(mlflow_url, again.run_id) == [(1, 3.0)]


@pytest.mark.slow
def test_who_wants_to_end_does_not_wait_for_the_tracker(start):
    tracked = start(f"http://127.0.0.1:{free_ports(1)[0]}", lambda text: None)
    tracked.log(event(1, 3.0))
    stop = threading.Event()
    stop.set()
    with pytest.raises(TrackingUnavailableError):
        tracked.catch_up([], 10**6, stop)


@pytest.mark.slow
def test_samples_that_were_left_out_are_listed_with_their_reasons(start, mlflow_url):
    tracked = start(mlflow_url)
    skipped = (Skipped(3, 41, "train-000002.tar: train00041.jpg", "a broken JPEG"),)
    ledger = Ledger(epoch=3, expected=103, delivered=95, skipped=skipped, left_over=7)
    told = dataclasses.replace(event(32, 1.0), metrics=ledger.metrics(), ledger=ledger)
    finished(tracked, [told])
    run = MlflowClient(mlflow_url).get_run(tracked.run_id)
    assert run.data.metrics["data/skipped"] == 1
    listed = json.loads(mlflow.artifacts.load_text(f"runs:/{tracked.run_id}/data/epoch-0003.json"))
    assert listed["skipped"] == [list(skipped[0])]
    assert listed["delivered"] + 1 + listed["left_over"] == listed["expected"]


@pytest.mark.slow
def test_a_failed_run_is_failed_in_the_tracker(start, mlflow_url):
    tracked = start(mlflow_url)
    tracked.abandon(dataclasses.replace(tracked.record, status="FAILED"))
    assert MlflowClient(mlflow_url).get_run(tracked.run_id).info.status == "FAILED"


def test_a_password_in_the_uri_is_not_shown(record, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:secret@host/db")
    assert TrackedRun(record, print).shown_uri == "postgresql://host/db"


def test_a_tracker_that_is_no_uri_is_refused(start):
    with pytest.raises(TrackingError, match="MLflow at gopher://x"):
        start("gopher://x")


def test_without_the_variable_it_is_mlflows_own_default(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("RAY_JOB_ID", raising=False)
    assert tracking_uri() == "sqlite:///mlflow.db"


@pytest.mark.slow
def test_runs_of_the_same_data_that_begin_at_once_are_all_tracked(tiny, tiny_url, tmp_path, start):
    config, uri = tiny_run(tiny_url), f"sqlite:///{tmp_path}/mlflow.db"
    start(uri).finish(new_record(config, tiny[1], "first"))  # makes the tables
    data = dataclasses.replace(tiny[1], digest="d" * 64)
    records = [new_record(config, data, f"run-{number}") for number in range(8)]
    together = threading.Barrier(len(records))

    def begin(record):
        tracked = TrackedRun(record, print)
        together.wait()
        tracked.start()
        return tracked.run_id

    with ThreadPoolExecutor(len(records)) as threads:
        runs = [MlflowClient(uri).get_run(each) for each in threads.map(begin, records)]
    assert {run.inputs.dataset_inputs[0].dataset.digest for run in runs} == {"d" * 36}
