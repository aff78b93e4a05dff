"""Jobs submitted from anywhere, to nodes that have the lock's packages and not this project.

What they need of it comes with the job. Afterwards everything that was written is searched for the
secrets that the stack runs with.
"""

import re

import pytest

from tests.infra.stack_files import check_no_secret

pytestmark = [pytest.mark.slow, pytest.mark.proof]

SMALL = [
    "--set=registry.model_name=of-jobs",
    "--set=train.epochs=1",
    "--set=model.width=0.05",
    "--set=cluster.num_workers=1",
    "--set=data.loader_processes=0",
    "--set=cluster.storage_url=s3://checkpoints/jobs",
]


def test_a_training_runs_from_the_files_that_come_with_the_job(stack, tmp_path):
    status, said = stack.submit("train", "python", "pipelines/train.py", *SMALL, cwd=tmp_path)
    assert status == 0, said
    assert "registered  of-jobs version 1, alias challenger" in said


def test_a_retraining_runs_from_the_files_that_come_with_the_job(stack, tmp_path):
    _, said = stack.submit("retrain", "python", "pipelines/retrain.py", *SMALL, cwd=tmp_path)
    assert "of-jobs: train: the first training" in said, said
    assert re.search(
        r"retraining 1: version \d refused", said
    )  # after one epoch it is no better than chance
    assert "failed with exit code 3" in said

    status, said = stack.submit("again", "python", "pipelines/retrain.py", *SMALL, cwd=tmp_path)
    assert status == 0, said
    assert "skip: retraining 1 had the same data, configuration and code: refused" in said


def test_a_search_runs_from_the_files_that_come_with_the_job(stack, tmp_path):
    space = stack.folder / "space.toml"  # the nodes are on this machine
    space.write_text("trials = 2\n[space]\nmodel.dropout = { uniform = [0.1, 0.3] }\n")
    command = ("python", "pipelines/tune.py", f"--space={space}")
    status, said = stack.submit("search", *command, *SMALL, cwd=tmp_path)
    assert status == 0, said
    assert "written  s3://checkpoints/jobs/_search/digits-" in said
    check_no_secret(stack, "checkpoints", "mlflow")
