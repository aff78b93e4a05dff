"""What an earlier release has left in S3 and in MLflow, as one small archive.

`tests/golden/release-0001.tar.gz` was made by `python -m tests.golden_release` at commit 424afd4,
the last one before the modules moved. It is not made anew when code changes: that today's code
reads what that commit wrote is what `tests/test_earlier_release.py` is about. When the schema of a
file rises, today's files get an archive of their own, with the next number, and this one stays.

    expected.json            what the release's own code said and computed of all that follows
    undisturbed.safetensors  last weights of a run like the interrupted one, but undisturbed
    run.toml, space.toml     the run and the search
    mlflow.db                MLflow's SQLite database; its artifacts are in s3://mlflow/release-0001
    s3/BUCKET/KEY            the objects: data, runs, decisions, retrainings, a search, artifacts

Of the registered model, version 1 was promoted by force, 2 is a retraining that was promoted,
rolled back and promoted again, and 3 was refused. The run `interrupted` was stopped in its second
epoch.
"""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.metadata import version as installed
from itertools import islice
from pathlib import Path
from unittest import mock

import mlflow
import pandas as pd
import torch
from mlflow.tracking import MlflowClient
from safetensors.torch import save_file

from alexnet import config_file
from alexnet.adapters import prometheus_page
from alexnet.adapters.mlflow_registry import Registry
from alexnet.adapters.object_store import open_store
from alexnet.classifier import ABOUT, WEIGHTS, Classifier
from alexnet.dataset import embedded_digits, manifest, shard_writer
from alexnet.registry import probe
from alexnet.registry.artifact import DATA
from infra import servers
from pipelines import promote, retrain, status, train, tune
from pipelines.steps import registry_metrics
from tests import alone
from tests.golden_values import FOLDER, machine
from tests.tiny_data import train_alone

NAME = "release-0001"
ARCHIVE = FOLDER / f"{NAME}.tar.gz"

COMMIT = "424afd4643a900dc599691d6dabd922f320a17b3"
"""Which the records name; the code that reads them is another one."""

DATA_URL, STORAGE_URL, ARTIFACTS_URL = (f"s3://{bucket}/{NAME}" for bucket in servers.BUCKETS)

RUN = f"""\
name = "digits"

[model]
num_classes = 10
width = 0.02
dropout = 0.1

[data]
url = "{DATA_URL}"
image_px = 63
num_streams = 4
window_samples = 16
loader_processes = 0

[augment]
crop_area = [0.9, 1.0]
flip = 0.0
rotation_degrees = 5.0
brightness = 0.1
contrast = 0.1
hue = 0.0
saturation = 0.0

[optim]
learning_rate = 0.1
warmup_epochs = 1

[train]
epochs = 10
global_batch_size = 16

[cluster]
num_workers = 1
checkpoints_kept = 1
storage_url = "{STORAGE_URL}"

[gate]
max_calibration_error = 0.9
max_latency_ms = 60000

[price]
currency = "EUR"
per_worker_hour = 3.6
"""

SPACE = """\
trials = 2

[space]
optim.learning_rate = { log = [0.05, 0.5] }
augment.rotation_degrees = { choice = [0, 5, 10] }
"""

NUM_SAMPLES, VAL_EVERY, SHARD_SAMPLES = 240, 5, 64

SHORT = ("--set=train.epochs=2",)
"""Of the search's trials and of the interrupted run."""

STOP_AFTER = 17
"""Steps; an epoch has 12."""


# ------------------------------------------------------------------------------------- looking


def said(main, *arguments):
    """Exit status of a command, and what it said."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        code = main([str(each) for each in arguments])
    return {"status": code, "says": out.getvalue().splitlines()}


def interrupted(folder):
    """The run that was stopped."""
    name = "run.name=interrupted"
    return config_file.load(
        folder / "run.toml", [*(each.removeprefix("--set=") for each in SHORT), name]
    )


def val_files():
    """The first images of the validation split."""
    store = open_store(DATA_URL)
    return probe.images(store, manifest.read(store))


def look(folder):
    """All that is compared and changes nothing: what commands say, versions and their runs.

    Args:
        folder: with `run.toml` and `space.toml`.
    """
    run, client = folder / "run.toml", MlflowClient()
    name = config_file.load(run).registry.model_name
    more = folder / "more.toml"
    more.write_text(SPACE.replace("trials = 2", "trials = 4"))
    return {
        "commands": {
            "status": said(status.main, run),
            "promote --history": said(promote.main, "--config", run, "--history"),
            "retrain --dry-run": said(retrain.main, run, "--dry-run"),
            "retrain --dry-run, other settings": said(
                retrain.main, run, "--dry-run", "--set=train.seed=5"
            ),
            "tune --dry-run": said(tune.main, run, "--space", more, "--dry-run", *SHORT),
        },
        "exporter": prometheus_page.exposition(
            registry_metrics.samples(config_file.load(run))
        ).splitlines(),
        "aliases": Registry(name).aliases(),
        "versions": {
            str(each.version): {"tags": dict(each.tags), "run": _run(client, each.run_id)}
            for each in client.search_model_versions(f"name = '{name}'")
        },
        "runs": {
            each.info.run_name: each.info.status
            for each in client.search_runs([client.get_experiment_by_name("alexnet").experiment_id])
        },
    }


def _run(client, run_id):
    run = client.get_run(run_id)
    return {
        "status": run.info.status,
        "name": run.info.run_name,
        "tags": dict(run.data.tags),
        "parameters": dict(run.data.params),
        "metrics": dict(run.data.metrics),
    }


def classify(folder, number):
    """What a version answers, by our own code: logits of the first validation images."""
    registry = Registry(config_file.load(folder / "run.toml").registry.model_name)
    with registry.fetched(registry.find(str(number))) as (files, _):
        network = Classifier(files / DATA / WEIGHTS, files / DATA / ABOUT)
        return network.logits(val_files()).tolist()


def serve(folder, number):
    """What a version answers, loaded by MLflow in this process: classes, and all probabilities.

    A process that has imported none of our modules runs those that the version brings. So they are
    set aside here.
    """
    name, files = config_file.load(folder / "run.toml").registry.model_name, val_files()
    with _modules_aside("alexnet"):
        model = mlflow.pyfunc.load_model(f"models:/{name}/{number}")
        answer = model.predict(pd.DataFrame({"image": files}))
        brought = Path(sys.modules["alexnet"].__file__)
    assert Path(__file__).parents[1] not in brought.parents
    return {"classes": answer["class"].tolist(), "probabilities": answer["probabilities"].tolist()}


@contextmanager
def _modules_aside(package):
    def ours():
        return [name for name in sys.modules if name.partition(".")[0] == package]

    kept, path = {name: sys.modules.pop(name) for name in ours()}, list(sys.path)
    try:
        yield
    finally:
        for name in ours():
            del sys.modules[name]
        sys.modules.update(kept)
        sys.path[:] = path


# ------------------------------------------------------------------------------------ restoring


def unpack(folder):
    """The archive's files in a folder of this machine; what is expected of them."""
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(folder, filter="data")
    return json.loads((folder / "expected.json").read_text(encoding="utf-8"))


def restore(folder, server, database):
    """Put the objects into an S3 server as they were, and the database into a file; its URL."""
    client = server.client()
    with ThreadPoolExecutor(8) as threads:
        for bucket in servers.BUCKETS:
            for key in _keys(client, bucket):
                client.delete_object(Bucket=bucket, Key=key)
            place = folder / "s3" / bucket
            files = [path for path in place.rglob("*") if path.is_file()]
            put = [
                threads.submit(client.upload_file, str(p), bucket, p.relative_to(place).as_posix())
                for p in files
            ]
            for each in put:
                each.result()
    shutil.copyfile(folder / "mlflow.db", database)
    url = f"sqlite:///{database}"
    packages = json.loads((folder / "expected.json").read_text(encoding="utf-8"))["packages"]
    if packages["mlflow"] != installed("mlflow"):  # as whoever updates MLflow has to
        subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", url], check=True)
    return url


def _keys(client, bucket):
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{NAME}/")
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def surroundings(url):
    """Variables with which a commit is what it was then, wherever this checkout is.

    Args:
        url: of MLflow.
    """
    return {
        "MLFLOW_TRACKING_URI": url,
        "GIT_DIR": "/nonexistent",  # so `GIT_COMMIT` counts
        "GIT_COMMIT": COMMIT,
    }


# --------------------------------------------------------------------------------------- making


def main():
    """Make the archive."""
    with tempfile.TemporaryDirectory(prefix="release-") as temporary:
        folder = Path(temporary)
        made, work = folder / NAME, folder / "work"
        for each in (made, work):
            each.mkdir()
        with servers.s3_server(folder) as server:
            env = {**server.env(), **surroundings(f"sqlite:///{made}/mlflow.db"), **QUIET}
            with mock.patch.dict(os.environ, env):
                os.chdir(work)
                _make(made, work)
            _download(server, made / "s3")
        (made / "more.toml").unlink()
        with tarfile.open(ARCHIVE, "w:gz", compresslevel=9) as tar:
            for path in sorted(made.rglob("*")):
                tar.add(path, path.relative_to(made), recursive=False, filter=_nobodys)
    sys.stdout.write(f"{ARCHIVE}: {ARCHIVE.stat().st_size} bytes\n")


QUIET = {
    "LOGNAME": "somebody",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONPATH": str(Path(__file__).parents[1]),  # of workers
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def _make(made, work):
    (made / "run.toml").write_text(RUN)
    (made / "space.toml").write_text(SPACE)
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    mlflow.create_experiment("alexnet", f"{ARTIFACTS_URL}/1")
    _write_data()
    _work(made)
    expected = json.dumps(_expected(made, work), indent=1) + "\n"
    (made / "expected.json").write_text(expected.replace(f"@{socket.gethostname()}", "@host"))


def _write_data():
    samples = list(islice(embedded_digits.samples(), NUM_SAMPLES))
    splits = {
        "train": [each for i, each in enumerate(samples) if i % VAL_EVERY],
        "val": samples[::VAL_EVERY],
    }
    classes = [str(digit) for digit in range(10)]
    shard_writer.write_dataset(open_store(DATA_URL), "digits", classes, splits, SHARD_SAMPLES)


def _work(made):
    """Everything that people and schedulers have done with the release."""
    run = made / "run.toml"

    def do(wanted, command, *arguments):
        found = command([str(each) for each in arguments])
        assert found == wanted, f"{command.__module__} {arguments}: {found}"

    def decide(wanted, *arguments):
        do(wanted, promote.main, *arguments, "--config", run)

    do(0, train.main, run, "--set=train.epochs=1")
    decide(0, "1", "--force", "the first one")
    do(0, retrain.main, run)
    decide(0, "--rollback", "worse in use")
    decide(0, "2", "--force", "it was the camera")
    do(0, retrain.main, run)  # nothing is new, which the last look says
    do(0, train.main, run, "--set=train.epochs=6", "--set=train.seed=1")
    decide(3)
    do(0, tune.main, run, "--space", made / "space.toml", *SHORT)
    assert alone.train(interrupted(made), STOP_AFTER).version is None


def _expected(made, work):
    store, stopped = open_store(DATA_URL), interrupted(made)
    trainer, end = train_alone(stopped, manifest.read(store), store, work / "undisturbed")
    assert end == "done"
    weights = {name: tensor.contiguous() for name, tensor in trainer.network.state_dict().items()}
    save_file(weights, made / "undisturbed.safetensors")
    numbers = ("1", "2", "3")
    return {
        "command": "python -m tests.golden_release",
        "commit": COMMIT,
        "machine": machine() | {"model": processor(), "threads": torch.get_num_threads()},
        "packages": {name: installed(name) for name in ("mlflow", "ray", "boto3")},
        "looked": look(made),
        "logits": {number: classify(made, number) for number in numbers},
        "served": {number: serve(made, number) for number in numbers},
    }


def processor():
    """The make of this machine's processor."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return next((each.partition(": ")[2] for each in lines if each.startswith("model name")), "")


def _download(server, place):
    client, here = server.client(), f"@{socket.gethostname()}".encode()
    for bucket in servers.BUCKETS:
        for key in _keys(client, bucket):
            body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
            if "decisions/" in key or key.endswith(".html"):  # which name who has decided
                body = body.replace(here, b"@host")
            file = place / bucket / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)


def _nobodys(entry):
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main()
