"""A job for a tick is submitted once, and whoever waits for it ends as it does."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
import uuid
from pathlib import Path

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.storage.lease import Lease
from pipelines import submit

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TICK = "--tick=2026-11-30T03:17Z"


class Model:
    """A registered model of its own, retrained on a cluster from another folder."""

    def __init__(self, cluster, s3, folder):
        self.name = f"m-{uuid.uuid4().hex[:8]}"
        self.job = f"retrain-{self.name}-20261130T0317Z"
        self._cluster, self._folder = cluster, folder
        self._env = os.environ | {
            "RAY_API_SERVER_ADDRESS": cluster.job_address,
            "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        }
        self._settings = [
            f"--set=registry.model_name={self.name}",
            f"--set=cluster.storage_url=s3://checkpoints/{self.name}",
            "--set=model.width=0.05",
            "--set=cluster.num_workers=1",
            "--set=data.loader_processes=0",
        ]

    def submit(self, *more):
        command = [sys.executable, str(ROOT / "pipelines" / "submit.py"), TICK, *self._settings]
        return subprocess.Popen(
            [*command, *more], cwd=self._folder, env=self._env,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    @property
    def jobs(self):
        """By name; those of this model."""
        with urllib.request.urlopen(f"{self._cluster.job_address}/api/jobs/", timeout=30) as answer:
            listed = json.load(answer)
        found = {job["submission_id"]: job for job in listed if job["submission_id"]}
        return {name: job for name, job in found.items() if self.name in name}


@pytest.fixture
def model(job_cluster, s3, tmp_path):
    return Model(job_cluster, s3, tmp_path)


def test_two_calls_for_a_tick_wait_for_one_job_and_a_third_does_not_ask_again(model, s3_env, s3):
    lease = Lease(open_store(f"s3://checkpoints/{model.name}/_retraining/{model.name}"))
    with lease.held("a retraining"):  # so that the job ends without a training
        two = [model.submit() for _ in range(2)]
        said = [each.communicate()[0] for each in two]
    assert [each.returncode for each in two] == [5, 5], said
    assert sorted(f"{model.job}: submitted" in each for each in said) == [False, True]
    assert all("is at work on it. Wait for its end." in each for each in said)
    third = model.submit()
    assert third.communicate()[0] == f"{model.job}: has ended with status 5\n"
    assert third.returncode == 5
    assert set(model.jobs) == {model.job}
    assert s3.secret_key not in json.dumps(model.jobs)


@pytest.mark.proof
def test_a_job_that_failed_is_tried_again_under_another_name(model):
    for _ in range(2):
        failing = model.submit("--set=data.url=s3://datasets/nothing-is-here")
        said, _ = failing.communicate()
        assert failing.returncode == 2, said
        assert "retrain: s3://datasets/nothing-is-here" in said
    assert set(model.jobs) == {model.job, f"{model.job}-try2"}


@pytest.mark.proof
def test_sigterm_stops_the_job_with_a_checkpoint(model):
    caller = model.submit("--set=train.epochs=200", "--set=train.log_every_steps=1")
    for line in caller.stdout:
        if line.startswith("step="):
            break
    caller.send_signal(signal.SIGTERM)
    said, _ = caller.communicate()
    assert caller.returncode == 128 + signal.SIGTERM, said
    assert "stopped by SIGTERM at step" in said
    assert model.jobs[model.job]["status"] == "STOPPED"


def test_a_configuration_that_the_job_would_not_have_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    (tmp_path / "mine.toml").write_text('name = "mine"\n')
    assert submit.main([str(tmp_path / "mine.toml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"submit: {tmp_path}/mine.toml: not in {ROOT}, which is what a job brings"
    )


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch, capsys):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    assert submit.main([TICK]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("submit: RAY_API_SERVER_ADDRESS = http://127.0.0.1:9: ")
