"""Metrics arrive once, by step, even when the tracker was away for a while."""

import dataclasses
import json

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from alexnet.adapters.mlflow_tracking import TrackedRun, tracking_uri
from alexnet.errors import TrackingError
from alexnet.ledger import Ledger, Skipped
from alexnet.progress import Event
from tests.alexnet.adapters.faulty_proxy import faulty_proxy
from tests.tiny_data import tiny_run

UNAVAILABLE = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


@pytest.fixture
def start(tiny, tiny_url, monkeypatch):
    """Begin a run at a tracker."""

    def start(uri, say=print):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        return TrackedRun.start(tiny_run(tiny_url), tiny[1], tiny_url, "tiny-1", "abc", say)

    return start


def event(step, value):
    return Event(kind="progress", step=step, steps=10, epoch=0.0, metrics={"train/loss": value})


@pytest.mark.slow
def test_metrics_wait_for_a_tracker_that_is_away_and_arrive_once(start, mlflow_url, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = []
    with faulty_proxy(mlflow_url, faults=0) as proxy:
        run = start(proxy.url, said.append)
        run.log(event(1, 3.0))
        assert not said
        proxy.break_next(1, UNAVAILABLE)
        run.log(event(2, 2.0))
        (problem,) = said
        assert proxy.url in problem
        assert "Training goes on" in problem
        run.log(event(3, 1.0))
        run.finish("FINISHED")
    assert said == [problem, f"MLflow at {proxy.url}: answers again; no metric is lost."]
    client = MlflowClient(mlflow_url)
    history = client.get_metric_history(run.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert client.get_run(run.run_id).info.status == "FINISHED"


@pytest.mark.slow
def test_samples_that_were_left_out_are_listed_with_their_reasons(start, mlflow_url):
    run = start(mlflow_url)
    skipped = (Skipped(3, 41, "train-000002.tar: train00041.jpg", "a broken JPEG"),)
    ledger = Ledger(epoch=3, expected=103, delivered=95, skipped=skipped, left_over=7)
    run.log(dataclasses.replace(event(32, 1.0), metrics=ledger.metrics(), ledger=ledger))
    run.finish("FINISHED")
    client = MlflowClient(mlflow_url)
    assert client.get_run(run.run_id).data.metrics["data/skipped"] == 1
    listed = json.loads(mlflow.artifacts.load_text(f"runs:/{run.run_id}/data/epoch-0003.json"))
    assert listed["skipped"] == [list(skipped[0])]
    assert listed["delivered"] + 1 + listed["left_over"] == listed["expected"]


@pytest.mark.slow
def test_a_failed_run_is_failed_in_the_tracker(start, mlflow_url):
    run = start(mlflow_url)
    run.abandon("FAILED")
    assert MlflowClient(run.uri).get_run(run.run_id).info.status == "FAILED"


def test_a_password_in_the_uri_is_not_shown():
    run = TrackedRun(None, "id", "postgresql://user:secret@host/db", print)
    assert run.shown_uri == "postgresql://host/db"


def test_a_tracker_that_is_no_uri_is_refused(start):
    with pytest.raises(TrackingError, match="MLflow at gopher://x"):
        start("gopher://x")


def test_without_the_variable_it_is_mlflows_own_default(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("RAY_JOB_ID", raising=False)
    assert tracking_uri() == "sqlite:///mlflow.db"
