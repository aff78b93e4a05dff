"""Jobs submitted from anywhere, to nodes that have the lock's packages and not this project.

What they need of it comes with the job. Afterwards everything that was written is searched for the
secrets that the stack runs with.
"""

import json
import re
import signal
import subprocess
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import psutil
import pytest

from tests import listening

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

SMALL = [
    "--set=registry.model_name=of-jobs",
    "--set=train.epochs=1",
    "--set=model.width=0.05",
    "--set=cluster.num_workers=1",
    "--set=data.loader_processes=0",
    "--set=cluster.storage_url=s3://checkpoints/jobs",
]


def submit(stack, cwd, name, *command):
    """Exit status and output of `ray job submit`."""
    stack.submitted.add(name)
    command = [
        *(stack.python, "-m", "ray.scripts.scripts", "job", "submit", f"--submission-id={name}"),
        *("--working-dir", ROOT, "--", "python", *command),
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, cwd=cwd, env=stack.env, check=False, **pipes)
    return done.returncode, done.stdout


def test_a_training_runs_from_the_files_that_come_with_the_job(stack, tmp_path):
    status, said = submit(stack, tmp_path, "train", "pipelines/train.py", *SMALL)
    assert status == 0, said
    assert "registered  of-jobs version 1, alias challenger" in said


@pytest.mark.proof
def test_a_retraining_runs_from_the_files_that_come_with_the_job(stack, tmp_path):
    _, said = submit(stack, tmp_path, "retrain", "pipelines/retrain.py", *SMALL)
    assert "of-jobs: train: the first training" in said, said
    assert re.search(
        r"retraining 1: version \d refused", said
    )  # after one epoch it is no better than chance
    assert "failed with exit code 3" in said

    status, said = submit(stack, tmp_path, "again", "pipelines/retrain.py", *SMALL)
    assert status == 0, said
    assert "skip: retraining 1 had the same data, configuration and code: refused" in said


@pytest.mark.proof
def test_a_search_runs_from_the_files_that_come_with_the_job(stack, tmp_path):
    space = stack.folder / "space.toml"  # the nodes are on this machine
    space.write_text("trials = 2\n[space]\nmodel.dropout = { uniform = [0.1, 0.3] }\n")
    command = ("pipelines/tune.py", f"--space={space}")
    status, said = submit(stack, tmp_path, "search", *command, *SMALL)
    assert status == 0, said
    assert "written  s3://checkpoints/jobs/_search/digits-" in said
    check_no_secret(stack)


def test_every_port_of_the_stack_is_bound_to_the_loopback_interface(stack):
    beyond, ports = listening.foreign(stack.process.pid)
    assert beyond == []
    assert ports > 20


def test_no_secret_is_in_anything_that_was_written(stack):
    check_no_secret(stack)


def check_no_secret(stack):
    names = ("AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN")  # new ones each time, used by every node
    secrets = {name: stack.env[name].encode() for name in names}
    found, looked = [], 0
    for where, content in _written(stack):
        looked += 1
        found += [(where, name) for name, secret in secrets.items() if secret in content]
    assert found == []
    assert looked > 100


def _written(stack):
    """Where and what: logs of servers and of Ray, MLflow's database, S3, and Ray's jobs."""
    folder, env = stack.folder, stack.env
    own = {folder / "env.sh", folder / "s3.json"}  # private files, whose purpose it is
    temporary = {
        Path(argument.partition("=")[2])
        for child in psutil.Process(stack.process.pid).children()
        for argument in child.cmdline()
        if argument.startswith("--temp-dir=")
    }
    assert len(temporary) == 2
    for top in (folder, *temporary):
        for path in top.rglob("*"):
            if path.is_file() and path not in own:
                yield path, path.read_bytes()
    client = boto3.session.Session(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]).client(
        "s3", endpoint_url=env["AWS_ENDPOINT_URL"], region_name=env["AWS_REGION"]
    )
    for bucket in ("mlflow", "checkpoints"):
        listed = client.list_objects_v2(Bucket=bucket)["Contents"]
        for key in (each["Key"] for each in listed):
            yield f"{bucket}/{key}", client.get_object(Bucket=bucket, Key=key)["Body"].read()
    request = urllib.request.Request(
        f"{env['RAY_API_SERVER_ADDRESS']}/api/jobs/",
        headers={"Authorization": f"Bearer {env['RAY_AUTH_TOKEN']}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        jobs = answer.read()
    assert {job["submission_id"] for job in json.loads(jobs)} >= stack.submitted
    yield "jobs", jobs


def test_sigterm_stops_all_of_it_and_frees_the_ports(stack):  # last: it ends the stack
    folder, process, env = stack.folder, stack.process, stack.env
    head = urlsplit(env["RAY_API_SERVER_ADDRESS"]).port
    assert listening.processes_with(str(folder))
    assert listening.processes_with(f"--dashboard-port={head}")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not listening.processes_with(str(folder))
    assert not listening.processes_with(f"--dashboard-port={head}")
    names = ("AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI", "RAY_API_SERVER_ADDRESS")
    assert all(listening.is_free(env[name]) for name in names)
    assert not (folder / "env.sh").exists()
