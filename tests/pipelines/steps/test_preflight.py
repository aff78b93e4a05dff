"""`train.py --check` finds what is wrong, says all of it, and leaves nothing behind."""

import shutil
from pathlib import Path

import pytest
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from alexnet.adapters.object_store import open_store, s3_client
from alexnet.dataset import shard_writer
from infra.processes import free_ports
from pipelines import train
from tests.commands import TINY
from tests.s3_proxy import unconditional
from tests.tiny_data import colour_samples, spoil

pytestmark = pytest.mark.slow

ALL = ["storage", "data", "updates", "validation", "classes", "MLflow", "Ray", "counts", "memory"]
ALL += ["shared memory", "temporary disk"]


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
        *lines, last = capsys.readouterr().out.splitlines()
        assert last.endswith("it would run" if status == 0 else "it would not run")
        return status, [(line[:5].strip(), line[6:]) for line in lines]

    return check


def test_a_healthy_setup_is_well_and_nothing_is_left_behind(check, tmp_path, mlflow_url):
    def kept():
        client = MlflowClient(mlflow_url)
        every = [each.experiment_id for each in client.search_experiments(ViewType.ALL)]
        runs = client.search_runs(every, run_view_type=ViewType.ALL)
        return every, [run.info.run_id for run in runs], len(client.search_registered_models())

    before = kept()
    status, found = check("registry.experiment=preflight")
    assert status == 0
    assert all(text.startswith(name) for (_, text), name in zip(found, ALL, strict=True))
    assert said("warn", found) == [
        "validation     29 validation images tell differences in top-1 from 16.3% on. The gate "
        "will see no smaller ones; add images."
    ]
    assert len(said("ok", found)) == len(ALL) - 1
    assert kept() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "tiny.toml"]


def test_the_embedded_data_is_not_written(on_cluster, mlflow_url, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    storage = f"--set=cluster.storage_url={tmp_path}/runs/of/digits"
    assert train.main(["--check", storage]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{tmp_path}/runs/of/digits/_data/digits-64px: one sample of each" in lines[1]
    assert lines[-1] == "it would run"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["ignore", "refuse"])
def test_a_store_without_conditional_writes_fails(check, s3_env, bucket_url, monkeypatch, how):
    with unconditional(s3_env, how) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        s3_client.forget_client()
        status, found = check(f"cluster.storage_url={bucket_url}")
    s3_client.forget_client()
    assert status == 2
    (text,) = said("FAIL", found)
    answer = {"ignore": "ignored", "refuse": "refused as NotImplemented"}[how]
    assert f"(PUT with If-None-Match) is {answer} by {url}; leases and decisions need it" in text
    assert len(found) == len(ALL)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_env.endpoint)
    assert open_store(bucket_url).list() == []


def test_the_address_of_ray_client_fails(check, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:10001")
    status, found = check()
    assert status == 2
    (text,) = said("FAIL", found)
    assert "RAY_ADDRESS = ray://127.0.0.1:10001: is Ray Client's" in text


def test_too_little_data_is_a_warning_and_it_would_run(check, tmp_path):
    url, names = str(tmp_path / "few"), ["red", "green", "blue", "grey"]
    splits = {"train": colour_samples("train", 20), "val": colour_samples("val", 16)}
    shard_writer.write_dataset(open_store(url), "few", names, splits, 20)
    status, found = check(f"data.url={url}", "model.num_classes=4")
    assert status == 0
    updates, validation, classes = said("warn", found)
    assert "1 update per epoch: 20 training images in batches of" in updates
    assert "16 validation images tell differences in top-1 from 21.9% on" in validation
    assert "train: every image is rejected in 1 of 4 classes, or there was none (grey)" in classes
    assert "; val: every image is rejected in 1 of 4 classes, or" in classes


def said(level, found):
    return [text for each, text in found if each == level]


def test_an_altered_image_is_found_with_its_shard_and_the_rest_is_looked_at(check, tmp_path):
    spoil(Path(tmp_path / "copy"), [50])  # in the middle of the third shard
    status, found = check()
    assert status == 2
    (text,) = said("FAIL", found)
    assert "train-000002.tar: sample 10: CRC-32C" in text
    assert {"MLflow", "Ray"} <= {text.split()[0] for level, text in found if level == "ok"}


def test_a_tracker_that_is_away_fails(check, monkeypatch):
    away = f"http://127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", away)
    status, found = check()
    assert status == 2
    (text,) = said("FAIL", found)
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
    (text,) = said("FAIL", found)
    assert re.search(message, text)
