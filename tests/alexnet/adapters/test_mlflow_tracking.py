"""Metrics arrive once, by step, even when the tracker was away for a while."""

import pytest
from mlflow.tracking import MlflowClient

from alexnet.adapters.mlflow_tracking import TrackedRun, tracking_uri
from alexnet.errors import TrackingError
from alexnet.progress import Event
from tests.tiny_data import tiny_run


@pytest.fixture
def run(tiny, tiny_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return TrackedRun.start(tiny_run(tiny_url), tiny[1], tiny_url, "tiny-1", "abc")


def event(step, value):
    return Event(kind="progress", step=step, steps=10, epoch=0.0, metrics={"train/loss": value})


@pytest.mark.slow
def test_metrics_wait_for_a_tracker_that_is_away_and_arrive_once(run, monkeypatch):
    run.log(event(1, 3.0))
    with monkeypatch.context() as away:

        def refuse(*args, **kwargs):
            raise ConnectionError("away")

        away.setattr(run.client, "log_batch", refuse)
        run.log(event(2, 2.0))
        assert "away" in run.problem
    run.log(event(3, 1.0))
    run.finish("FINISHED")
    assert not run.problem
    history = run.client.get_metric_history(run.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert run.client.get_run(run.run_id).info.status == "FINISHED"


@pytest.mark.slow
def test_a_failed_run_is_failed_in_the_tracker(run):
    run.abandon("FAILED")
    assert MlflowClient(run.uri).get_run(run.run_id).info.status == "FAILED"


def test_a_password_in_the_uri_is_not_shown():
    run = TrackedRun(None, "id", "postgresql://user:secret@host/db")
    assert run.shown_uri == "postgresql://host/db"


def test_a_tracker_that_is_no_uri_is_refused(tiny, tiny_url, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://x")
    with pytest.raises(TrackingError, match="MLflow at gopher://x"):
        TrackedRun.start(tiny_run(tiny_url), tiny[1], tiny_url, "tiny-1", "abc")


def test_without_the_variable_it_is_mlflows_own_default(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("RAY_JOB_ID", raising=False)
    assert tracking_uri() == "sqlite:///mlflow.db"
