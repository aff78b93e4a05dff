"""What `ray job submit --working-dir .` and pipelines/submit.py bring to a cluster: the code.

Packed by Ray's own client, from a copy of the files that git tracks; the cluster is left out.
"""

import io
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]

NEEDED = (
    "pyproject.toml",
    "pipelines/*.py",
    "pipelines/configs/*.toml",
    "pipelines/spaces/*.toml",
    "alexnet/**/*.py",
    "alexnet/templates/*.html",
)
"""By a job; all that git tracks of it."""

LEFT_BEHIND = (
    "data/x.tar",
    "runs/x",
    "build/x",
    "reports/x.html",
    "mlruns/x",
    "mlflow.db",
    "mlflow.db-wal",
    ".venv/x",
    ".git/x",
    "alexnet/__pycache__/x.pyc",
    "pipelines/__pycache__/x.pyc",
)

NAMED_ALIKE = ("alexnet/data/x.py", "pipelines/runs/x.toml")
"""Of ours, though the folder is named as one at the root that is left behind."""


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip(f"not a clone: {listed.stderr.strip()}")
    return [each for each in listed.stdout.split("\0") if each and (ROOT / each).is_file()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the files that git tracks."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def packed(folder):
    """The package that a job with this working directory brings."""
    from ray.job_submission import JobSubmissionClient

    class Client(JobSubmissionClient):
        def __init__(self):
            self.package = b""

        def _do_request(self, method, endpoint, data=None, **_):
            self.package = data
            return SimpleNamespace(status_code=404 if method == "GET" else 200)

    client = Client()
    client._upload_working_dir_if_needed({"working_dir": str(folder)})
    return client.package


def names(package):
    return set(zipfile.ZipFile(io.BytesIO(package)).namelist())


def test_a_job_brings_no_more_than_the_page_on_clusters_says_and_less_than_4_mb(checkout):
    (said,) = re.findall(r"less than (\d+) MB", (ROOT / "docs/cluster.md").read_text())
    assert len(packed(checkout)) < int(said) * 1e6 <= 4e6


@pytest.mark.parametrize("pattern", NEEDED)
def test_a_job_brings_every_tracked_file_that_it_needs(checkout, pattern):
    needed = {str(each.relative_to(checkout)) for each in checkout.glob(pattern)}
    assert needed
    assert needed <= names(packed(checkout))


@pytest.mark.slow
def test_a_job_leaves_data_and_runs_behind_and_no_folder_of_the_code_that_is_named_alike(
    checkout, tmp_path
):
    folder = shutil.copytree(checkout, tmp_path / "checkout")
    for planted in LEFT_BEHIND + NAMED_ALIKE:
        (folder / planted).parent.mkdir(parents=True, exist_ok=True)
        (folder / planted).write_text("x")
    brought = names(packed(folder))
    assert brought.isdisjoint(LEFT_BEHIND)
    assert brought.issuperset(NAMED_ALIKE)
