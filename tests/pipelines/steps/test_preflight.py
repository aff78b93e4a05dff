"""`train.py --check` finds what is wrong, says all of it, and leaves nothing behind."""

import shutil
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from infra.processes import free_ports
from pipelines import train
from tests.commands import TINY
from tests.tiny_data import spoil

pytestmark = pytest.mark.slow

ALL = ["storage", "data", "MLflow", "Ray", "counts", "memory", "shared memory", "temporary disk"]


@pytest.fixture
def check(on_cluster, mlflow_url, monkeypatch, tmp_path, tiny_url, capsys):
    """Look at a run on a copy of the tiny data; exit status, and lines by level."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "copy"
    shutil.copytree(tiny_url, data)

    def check(*changes):
        path = tmp_path / "tiny.toml"
        path.write_text(TINY.format(url=data, storage=tmp_path / "runs"))
        status = train.main([str(path), "--check", *(f"--set={each}" for each in changes)])
        lines = capsys.readouterr().out.splitlines()
        return status, [(line[:5].strip(), line[6:]) for line in lines]

    return check


def test_a_healthy_setup_is_well_and_nothing_is_left_behind(check, tmp_path, mlflow_url):
    status, found = check("registry.experiment=preflight")
    assert status == 0
    assert [level for level, _ in found] == ["ok"] * len(ALL)
    assert all(text.startswith(name) for (_, text), name in zip(found, ALL, strict=True))
    assert not list((tmp_path / "runs").iterdir())
    client = MlflowClient(mlflow_url)
    experiment = client.get_experiment_by_name("preflight").experiment_id
    assert not client.search_runs([experiment], run_view_type=ViewType.ACTIVE_ONLY)
    assert not mlflow.search_registered_models(filter_string="name = 'write test'")


def failed(found):
    return [text for level, text in found if level == "FAIL"]


def test_an_altered_image_is_found_with_its_shard_and_the_rest_is_looked_at(check, tmp_path):
    spoil(Path(tmp_path / "copy"), [50])  # in the middle of the third shard
    status, found = check()
    assert status == 2
    (text,) = failed(found)
    assert "train-000002.tar: sample 10: CRC-32C" in text
    assert {"MLflow", "Ray"} <= {text.split()[0] for level, text in found if level == "ok"}


def test_a_tracker_that_is_away_fails(check, monkeypatch):
    away = f"http://127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", away)
    status, found = check()
    assert status == 2
    (text,) = failed(found)
    assert f"MLflow at {away}: does not answer" in text
    assert len(found) == len(ALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cluster.num_workers=4", "cluster.num_workers = 4: .* needs 4 CPUs"),
        ("cluster.storage_url=/proc/x", "/proc/x"),
        ("model.num_classes=9", "model.num_classes = 9: the data set"),
        ("data.cache_gib=1e9", r"Lower data\.cache_gib"),
    ],
)
def test_each_thing_that_cannot_work_fails_in_one_line(check, change, message):
    import re

    status, found = check(change)
    assert status == 2
    (text,) = failed(found)
    assert re.search(message, text)
