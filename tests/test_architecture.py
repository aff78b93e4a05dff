"""The structure holds: imports, sizes, and a closed command line."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import (
    check_data,
    exporter,
    prepare_shards,
    promote,
    retrain,
    status,
    submit,
    sync_tracking,
    train,
    tune,
    verify,
)

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "pipelines").glob("*.py"))
MAX_SCRIPT_LINES = 110


def test_imports_keep_the_contracts():
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert command, "import-linter is not installed: pip install -e '.[dev]'"
    done = subprocess.run([command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_importing_the_library_starts_nothing_heavy():
    code = (
        "import sys, alexnet.config, alexnet.loading.epoch_plan, alexnet.dataset.manifest; "
        "assert not {'torch', 'ray', 'mlflow', 'boto3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_command_is_short(path):
    assert len(path.read_text().splitlines()) <= MAX_SCRIPT_LINES


@pytest.mark.parametrize(
    ("main", "options"),
    [
        (train.main, {"-h", "--help", "--set", "--fresh", "--check"}),
        (
            prepare_shards.main,
            {
                *("-h", "--help", "--short-side", "--samples-per-shard"),
                *(
                    "--seed",
                    "--val-share",
                    "--max-rejects",
                    "--classes",
                    "--accept",
                    "--add",
                    "--fresh",
                ),
            },
        ),
        (sync_tracking.main, {"-h", "--help", "--timeout"}),
        (
            promote.main,
            {
                *("-h", "--help", "--config", "--set", "--data", "--dry-run"),
                *("--require-approval", "--force", "--rollback", "--history"),
            },
        ),
        (retrain.main, {"-h", "--help", "--set", "--dry-run", "--require-approval"}),
        (status.main, {"-h", "--help", "--set"}),
        (tune.main, {"-h", "--help", "--set", "--space", "--out", "--dry-run"}),
        (submit.main, {"-h", "--help", "--set", "--tick", "--require-approval"}),
        (exporter.main, {"-h", "--help", "--set", "--host", "--port", "--every"}),
        (verify.main, {"-h", "--help", "--config", "--set", "--full"}),
        (check_data.main, {"-h", "--help", "--digests", "--report", "--max-rejects"}),
    ],
)
def test_a_command_has_these_options_and_no_other(main, options, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    words = capsys.readouterr().out.replace(",", " ").replace("[", " ").split()
    assert {word.rstrip("]") for word in words if word.startswith("-")} == options


def test_a_command_is_run_as_a_file_from_any_folder(tmp_path):
    command = [sys.executable, str(ROOT / "pipelines" / "status.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split(" [")[0]) == (0, "usage: python pipelines/status.py")


HELP = """
import runpy, sys
for path in sys.argv[1:]:
    sys.argv = [path, "--help"]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        assert end.code == 0, path
heavy = {"torch", "ray", "mlflow", "boto3", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""


def test_the_help_of_commands_imports_nothing_heavy():
    paths = [str(path) for path in SCRIPTS if path.stem[0] != "_"]
    assert len(paths) == 11
    subprocess.run([sys.executable, "-c", HELP, *paths], check=True, capture_output=True)
