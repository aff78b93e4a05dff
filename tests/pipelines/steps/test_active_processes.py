"""Who is at work is read from leases, and from the cluster where one is named."""

import json
import os
import subprocess
import sys
import time

import pytest

from alexnet import config_file
from alexnet.adapters.ray_jobs import Jobs
from alexnet.storage import processes
from infra.processes import free_ports
from pipelines.steps import active_processes
from tests.waiting import wait_until


@pytest.fixture
def run(tmp_path):
    return config_file.parse({"cluster": {"storage_url": str(tmp_path)}})


@pytest.fixture
def held(tmp_path):
    """A function that writes a lease as its holder does."""

    def write(folder, seconds_ago=0, **fields):
        path = tmp_path / folder / "lease.json"
        path.parent.mkdir(parents=True)
        now_ms = int(time.time() * 1000)
        known = {"token": "t", "host": "far", "pid": 7, "renewed_ms": now_ms - seconds_ago * 1000}
        path.write_text(json.dumps(known | fields))

    return write


def test_retrainings_searches_and_runs_are_named_the_models_own_first(run, held):
    held("digits-001", step=40)
    held("_search/digits-0123abcd")
    held("_retraining/other")
    held("_retraining/alexnet")
    told = [
        line.partition(", by process 7 on far, seen ")[0] for line in active_processes.lines(run)
    ]
    assert told == [
        "planning",
        "retraining of other",
        "search digits-0123abcd",
        "run digits-001, step 40",
    ]


def test_who_is_dead_or_was_not_heard_of_for_minutes_is_not_at_work(run, held):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    held("dead", pid=gone.pid, sight=processes.namespace_id())
    held("silent", seconds_ago=300)
    held("alive", pid=os.getppid(), sight=processes.namespace_id())
    assert [line.partition(",")[0] for line in active_processes.lines(run)] == ["run alive"]


def test_nobody_is_at_work_in_a_storage_that_is_not_there_yet(tmp_path):
    nowhere = config_file.parse({"cluster": {"storage_url": str(tmp_path / "none")}})
    assert active_processes.lines(nowhere) == []


def test_a_cluster_that_does_not_answer_is_said_beside_the_rest(run, held, monkeypatch):
    held("digits-001")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", f"http://127.0.0.1:{free_ports(1)[0]}")
    first, last = active_processes.lines(run)
    assert first.startswith("run digits-001, step 0, by process 7")
    assert last.startswith("jobs: RAY_API_SERVER_ADDRESS = http://127.0.0.1:")


@pytest.mark.slow
def test_jobs_of_the_cluster_are_listed_until_they_end(run, job_cluster, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", job_cluster.job_address)
    jobs = Jobs(job_cluster.job_address)
    name = f"waits-{tmp_path.name}"
    jobs.submit(name, f"until [ -e {tmp_path}/go ]; do sleep 0.1; done", tmp_path, {})
    wait_until(lambda: f"job {name}, running" in active_processes.lines(run))
    (tmp_path / "go").touch()
    wait_until(lambda: name not in "".join(active_processes.lines(run)))
