"""The whole command on a real cluster, and each thing a user can get wrong."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from itertools import pairwise
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from prometheus_client.parser import text_string_to_metric_families

from alexnet import config_file
from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest
from alexnet.telemetry import prometheus_metrics
from alexnet.telemetry.cost import money
from infra.processes import free_ports
from pipelines import sync_tracking, train
from pipelines.steps import run_inputs
from tests.commands import RARE, ROOT, TINY, TWO_WORKERS, held


@pytest.fixture
def run_file(tiny_url, tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY.format(url=tiny_url, storage=tmp_path / "runs"))
    return str(path)


@pytest.fixture
def on_cluster(on_cluster, mlflow_url, monkeypatch, tmp_path):
    """The command's surroundings: a cluster, a tracker, an empty folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(mlflow_url)
    return MlflowClient(mlflow_url)


@pytest.fixture
def tiny_in_s3(tiny_url, bucket_url):
    """The tiny data set, copied to a bucket."""
    store = open_store(bucket_url)
    for file in Path(tiny_url).iterdir():
        store.upload(file, file.name)
    return bucket_url


def exported(head, run):
    """What Prometheus reads of a run, by name and the label that tells a measure's series apart."""
    text = urllib.request.urlopen(head.metrics_url).read().decode()
    kinds = ("operation", "part", "device")
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("run") == run:
                assert sample.labels["model"] == "whole"
                kind = next((sample.labels[key] for key in kinds if key in sample.labels), "")
                found[f"{sample.name} {kind}".strip()] = sample.value
    return found


def check_exported(head, run):
    """Every measure of a training is there, with a value that it can have."""
    wanted = {each.series for each in prometheus_metrics.ALL if each.source == "training"}
    wanted -= {each.series for each in RARE}
    deadline = time.monotonic() + 15  # the agent takes what the driver has sent a moment later
    found = exported(head, run)
    while wanted - {name.partition(" ")[0] for name in found} or found["ray_alexnet_workers"]:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
        found = exported(head, run)
    found = {name.removeprefix("ray_alexnet_"): value for name, value in found.items()}
    assert found["images_trained_total"] == 24 * 12
    assert (found["step"], found["steps_planned"], found["epoch"]) == (24, 24, 3)
    assert 0 < found["train_loss"] < 2
    assert 0 <= found["validation_top1_ratio"] <= found["validation_top5_ratio"] == 1
    assert 0 <= found["data_wait_ratio"] <= 1
    assert found["images_per_second"] > 0
    assert found["s3_requests_total get"] > 0
    assert found["s3_bytes_total get"] > 3 * 12 * 8 * 300  # no image has fewer
    assert found["worker_seconds_total cpu"] > 0
    assert found["cost_total workers"] == pytest.approx(found["worker_seconds_total cpu"])
    cost = sum(found[f"cost_total {part}"] for part in ("workers", "requests"))
    assert found["run_cost"] == pytest.approx(cost)
    assert (found["tracker_up"], found["tracker_backlog_events"]) == (1, 0)
    return found


def options(changes):
    return [f"--set={key}={value}" for key, value in changes.items()]


def submitted(head, *arguments):
    """What a training says that runs as a job."""
    ray = str(Path(sys.executable).with_name("ray"))
    job = [ray, "job", "submit", "--working-dir", ".", "--", "python", "pipelines/train.py"]
    done = subprocess.run(
        [*job, *arguments],
        cwd=ROOT,
        env={**os.environ, "RAY_API_SERVER_ADDRESS": head.job_address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_submitted_run_is_tracked_measured_and_its_best_model_registered(
    on_cluster, run_file, tiny_url, tiny_in_s3, job_cluster
):
    changes = {
        "data.url": tiny_in_s3,
        "registry.model_name": "whole",
        "price.per_worker_hour": 3600,
        "price.per_1000_gets": 1,
    }
    out = submitted(job_cluster, run_file, *TWO_WORKERS, *options(changes))
    found = check_exported(job_cluster, re.search(r"^run=(\S+)", out, re.MULTILINE)[1])
    assert f"cost        {money(found['run_cost'], 'USD')}: workers " in out
    version = on_cluster.get_model_version_by_alias("whole", "challenger")
    run = on_cluster.get_run(version.run_id)
    digest = manifest.read(open_store(tiny_url)).digest

    assert run.info.status == "FINISHED"
    assert run.data.params["train.epochs"] == "3"
    assert run.data.tags["manifest_digest"] == version.tags["manifest_digest"] == digest
    assert run.inputs.dataset_inputs[0].dataset.digest == digest[:36]
    assert "config.toml" in {file.path for file in on_cluster.list_artifacts(version.run_id)}
    history = on_cluster.get_metric_history(version.run_id, "val/top1")
    assert [point.step for point in history] == [8, 16, 24]
    assert float(run.data.tags["cost"]) == pytest.approx(found["run_cost"], rel=1e-4)
    costs = on_cluster.get_metric_history(version.run_id, "cost/epoch")
    assert 0 < sum(point.value for point in costs) <= found["run_cost"]
    assert run.data.metrics["data/s3_get_requests"] <= found["s3_requests_total get"]
    assert float(version.tags["top1"]) == pytest.approx(max(p.value for p in history), abs=1e-5)
    assert f"registered  whole version {version.version}, alias challenger" in out
    assert Path(re.search(r"^checkpoint  (.*)$", out, re.MULTILINE)[1], "meta.json").is_file()
    assert version.run_id in out


def refusal(capsys, *arguments):
    """The one line of a command that refuses."""
    assert train.main(list(arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.num_classes=10", "model.num_classes = 10: the data set 'tiny' has 3 classes"),
        ("train.global_batch_size=400", "train.global_batch_size = 400: .* only 103 images"),
        ("train.epoch=3", "train.epoch: unknown key. Did you mean train.epochs?"),
        ("data.url=/nowhere", "/nowhere/manifest.json: .*"),
        ("data.url=ftp://x", "ftp://x: "),
        ("cluster.storage_url=/proc/x", "/proc/x.*"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(run_file, capsys, change, message):
    assert re.match(f"train: {message}", refusal(capsys, run_file, "--set", change))


def test_a_file_that_is_not_there_is_named(capsys):
    assert "nowhere.toml: No such file" in refusal(capsys, "nowhere.toml")


def test_a_manifest_that_is_not_one_is_refused(run_file, tmp_path, capsys):
    (tmp_path / "manifest.json").write_text("{}")
    line = refusal(capsys, run_file, "--set", f"data.url={tmp_path}")
    assert "damaged: format: missing" in line


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_named(run_file, s3_env, capsys):
    line = refusal(capsys, run_file, "--set", "data.url=s3://no-such-bucket/x")
    assert "no-such-bucket" in line


@pytest.mark.slow
def test_a_wrong_secret_is_said_and_not_shown(run_file, s3_env, monkeypatch, capsys):
    from alexnet.adapters.object_store import s3_client

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrongwrong")
    s3_client.forget_client()
    line = refusal(capsys, run_file, "--set", "data.url=s3://datasets/x")
    assert "AWS_SECRET_ACCESS_KEY" in line
    assert "wrongwrong" not in line


def test_an_endpoint_that_does_not_answer_is_named(run_file, monkeypatch, capsys):
    from alexnet.adapters.object_store import s3_client

    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setattr("alexnet.adapters.object_store.s3.DEADLINE_S", 1.0)
    s3_client.forget_client()
    line = refusal(capsys, run_file, "--set", "data.url=s3://datasets/x")
    s3_client.forget_client()
    assert endpoint in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cluster.device=gpu", "cluster.device = 'gpu': the cluster has no GPU"),
        ("cluster.num_workers=4", "cluster.num_workers = 4: .* needs 4 CPUs"),
    ],
)
def test_what_the_cluster_does_not_have_is_said(on_cluster, run_file, capsys, change, message):
    assert re.search(message, refusal(capsys, run_file, "--set", change))


@pytest.mark.slow
def test_without_a_tracker_a_run_is_trained_and_the_same_command_registers_it_later(
    on_cluster, run_file, monkeypatch, capsys, mlflow_url, tmp_path
):
    away = f"http://127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", away)
    options = [run_file, "--set=registry.timeout_s=0", "--set=registry.model_name=later"]
    assert train.main(options) == 2
    said = capsys.readouterr()
    assert f"MLflow at {away}: does not answer" in said.out
    (line,) = said.err.splitlines()
    assert re.match(f"train: MLflow at {away}: .* Training is complete, its best checkpoint", line)
    (run,) = (tmp_path / "runs").iterdir()

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    assert sync_tracking.main([str(run)]) == 0
    tracked = found(on_cluster, run)
    assert tracked.info.status == "FAILED"
    assert steps_of(on_cluster, tracked, "val/top1") == [8, 16, 24]

    assert train.main(options) == 0
    assert "(continued)" in capsys.readouterr().out
    assert found(on_cluster, run).info.status == "FINISHED"
    assert steps_of(on_cluster, tracked, "val/top1") == [8, 16, 24]
    version = on_cluster.get_model_version_by_alias("later", "challenger")
    assert version.run_id == tracked.info.run_id


def found(client, folder):
    """The one MLflow run of a run's folder; other tests' runs may have the same name."""
    key = json.loads((folder / "run.json").read_text())["key"]
    experiments = [each.experiment_id for each in client.search_experiments()]
    (run,) = client.search_runs(experiments, f"tags.run_key = '{key}'")
    return run


def steps_of(client, run, key):
    return sorted(point.step for point in client.get_metric_history(run.info.run_id, key))


@pytest.mark.slow
def test_a_run_that_somebody_works_on_is_left_alone(on_cluster, run_file, tmp_path, capsys):
    inputs = run_inputs.prepare(config_file.load(Path(run_file), ["run.name=busy"]))
    run = str(tmp_path / "runs" / "busy")
    inputs.record.write(open_store(run))
    with held(run) as holder:
        assert sync_tracking.main([run]) == 2
        assert f"process {holder} on " in capsys.readouterr().err
        assert f"process {holder} on " in refusal(capsys, run_file, "--set=run.name=busy")


def test_what_is_no_run_cannot_be_delivered(tmp_path, capsys):
    assert sync_tracking.main([str(tmp_path)]) == 2
    assert "no run.json. Name the folder of a run." in capsys.readouterr().err
    assert sync_tracking.main([str(tmp_path), "--timeout=-1"]) == 2
    assert "--timeout -1: must be 0 or more" in capsys.readouterr().err


@pytest.mark.slow
def test_a_job_without_a_tracker_is_refused(on_cluster, run_file, monkeypatch, capsys):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("RAY_JOB_ID", "01000000")
    assert "MLFLOW_TRACKING_URI is not set" in refusal(capsys, run_file)


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.photos
def test_photographs_in_s3_are_trained_on_by_a_submitted_job(
    job_cluster, mlflow_url, s3_env, bucket_url, photos, tmp_path
):
    from pipelines import prepare_shards

    small = tmp_path / "small.tar"
    few_photos(photos / "imagenette2-224.tar", small, per_class=200)
    assert prepare_shards.main([str(small), bucket_url]) == 0
    changes = {
        "data.url": bucket_url,
        "data.image_px": 64,
        "data.num_streams": 8,
        "model.width": 0.25,
        "model.dropout": 0.2,
        "optim.learning_rate": 0.04,
        "train.global_batch_size": 16,
        "registry.model_name": "photos",
    }
    submitted(job_cluster, "pipelines/configs/imagenette.toml", *options(changes))
    client = MlflowClient(mlflow_url)
    version = client.get_model_version_by_alias("photos", "challenger")
    losses = [point.value for point in client.get_metric_history(version.run_id, "val/loss")]
    assert len(losses) == 5
    assert all(later < earlier for earlier, later in pairwise(losses)), losses
    assert float(version.tags["top1"]) > 0.25  # chance is 0.10


def few_photos(source, destination, per_class):
    """The first images of each class and split."""
    import tarfile
    from collections import Counter

    taken = Counter()
    with tarfile.open(source) as archive, tarfile.open(destination, "w") as out:
        for member in archive:
            folder = member.name.rpartition("/")[0]
            if member.isfile() and taken[folder] < per_class:
                taken[folder] += 1
                out.addfile(member, archive.extractfile(member))
