"""A command runs the code of the tree that it lies in, on the driver and on the workers.

Whatever is installed: the environment of these tests has another clone, this one. How a job's
working directory wins over an installed wheel stands in `infra/test_local_stack.py`.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

COMMANDS = sorted((ROOT / "pipelines").glob("[a-z]*.py"))

OWN_TREE_FIRST = """
if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])
"""

PLANTED = """
from alexnet.errors import DataError


def _other_clone(self):
    raise DataError("this is the other clone")


Trainer.run = _other_clone
"""


@pytest.mark.parametrize(
    "path", [each for each in COMMANDS if "def main(" in each.read_text()], ids=lambda p: p.stem
)
def test_a_command_begins_with_its_own_tree(path):
    before, found, after = path.read_text().partition(OWN_TREE_FIRST)
    assert found
    assert "from alexnet" not in before
    assert "from pipelines" not in before
    assert "from pipelines" in after


@pytest.fixture
def other_clone(tmp_path):
    """A tree like this one whose workers say that they are its own; its folder and commit."""
    clone = tmp_path / "other"
    for package in ("alexnet", "pipelines"):
        shutil.copytree(ROOT / package, clone / package, ignore=shutil.ignore_patterns("*.pyc"))
    loop = clone / "alexnet" / "training" / "loop.py"
    loop.write_text(loop.read_text() + PLANTED)
    git(clone, "init", "-q")
    git(clone, "add", ".")
    git(
        clone, "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qm", "Planted"
    )
    return clone, git(clone, "rev-parse", "HEAD")


def git(folder, *arguments):
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize(
    "joins",
    [
        pytest.param(False, id="own cluster", marks=pytest.mark.proof),
        pytest.param(True, id="a cluster that was there"),
    ],
)
def test_a_training_is_of_its_own_clone_from_any_folder(joins, other_clone, tmp_path, request):
    clone, commit = other_clone
    address = {"RAY_ADDRESS": request.getfixturevalue("job_cluster").gcs_address} if joins else {}
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    done = subprocess.run(
        [
            *(sys.executable, clone / "pipelines" / "train.py", "--set=model.width=0.05"),
            *("--set=cluster.num_workers=1", "--set=data.loader_processes=0"),
        ],
        env=os.environ | address,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "this is the other clone" in done.stderr) == (2, True), done
    (record,) = (folder / "runs").glob("*/run.json")
    assert json.loads(record.read_text())["git_commit"] == commit
