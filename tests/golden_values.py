"""What the code makes, down to the digits: written by `python -m tests.golden_values`.

Run it only for a change that is meant to change results, and say in its commit which and why.
`tests/test_golden.py` compares. A refactoring leaves the files in `tests/golden/` as they are.

Bits of floating point depend on the processor and on the releases of PyTorch, OpenCV and
libjpeg-turbo. Each file notes these (`machine`): where they are the same, digests must be;
elsewhere what stands beside a digest is compared, with a tolerance.
"""

import hashlib
import io
import json
import os
import platform
import sys
import tempfile
from contextlib import chdir, redirect_stdout
from importlib.metadata import version as installed
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from mlflow.tracking import MlflowClient

from alexnet import augment, config, config_file, images, model, seeds
from alexnet.adapters.object_store import open_store
from alexnet.config import AugmentConfig, ModelConfig, RunConfig
from alexnet.dataset import embedded_digits, manifest, shard_writer
from alexnet.loading.epoch_plan import EpochPlan
from alexnet.promotion import decisions
from alexnet.search import space as search
from alexnet.telemetry import s3_usage
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
from tests import alone, promoter
from tests.tiny_data import NUM_TRAIN, NUM_VAL, colour_samples, tiny_run, train_alone

FOLDER = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[1]

COMMANDS = {
    "check_data": check_data.main,
    "exporter": exporter.main,
    "prepare_shards": prepare_shards.main,
    "promote": promote.main,
    "retrain": retrain.main,
    "status": status.main,
    "submit": submit.main,
    "sync_tracking": sync_tracking.main,
    "train": train.main,
    "tune": tune.main,
    "verify": verify.main,
}


def machine():
    """What the bits of a result depend on besides the code."""
    packages = ("numpy", "opencv-python-headless", "scikit-learn", "simplejpeg", "torch")
    return {
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        **{package: installed(package) for package in packages},
    }


def digest(data):
    """SHA-256 (hex) of bytes, or of an array with its type and shape."""
    if isinstance(data, np.ndarray):
        data = f"{data.dtype} {data.shape} ".encode() + np.ascontiguousarray(data).tobytes()
    return hashlib.sha256(data).hexdigest()


# ------------------------------------------------------------------------------------ training


def training():
    """Losses of a short run on one thread, and the weights that it begins with."""
    settings = ModelConfig(num_classes=5, width=0.05, dropout=0.2)
    network = model.build(settings, 63)
    model.initialize_(network, 7)
    return {"steps": _steps(), "initial weights, seed 7": _weights(network)}


def _steps():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            url = f"{folder}/data"
            write_tiny(url)
            store = open_store(url)
            settings = tiny_run(url, epochs=2, log_every_steps=1)
            trainer, _ = train_alone(settings, manifest.read(store), store, Path(folder) / "run")
    finally:
        torch.set_num_threads(threads)
    shown = ("train/loss", "train/learning_rate", "data/batch_ids")
    validated = ("val/top1", "val/top5", "val/loss", "val/images")
    return [
        {"step": event.step}
        | {key: event.metrics[key] for key in (*shown, *validated) if key in event.metrics}
        for event in trainer.worker.events
        if event.kind in ("progress", "evaluated")
    ]


def write_tiny(url):
    """The data set of `tests/conftest.py`."""
    splits = {"train": colour_samples("train", NUM_TRAIN), "val": colour_samples("val", NUM_VAL)}
    shard_writer.write_dataset(open_store(url), "tiny", ["red", "green", "blue"], splits, 20)


def _weights(network):
    return {
        name: {
            "sha256": digest(tensor.numpy()),
            "first": tensor.flatten()[:4].tolist(),
            "mean": tensor.double().mean().item(),
            "std": tensor.double().std().item(),
        }
        for name, tensor in network.state_dict().items()
    }


# --------------------------------------------------------------------------- order of the data


def order():
    """Digests of the ids of an epoch's samples, step by step, in the order of the global batch."""
    sizes = [20, 17, 31, 5, 40, 23]
    made = {}
    for seed in (0, 1, 12345):
        for epoch in (0, 1, 7):
            for streams, window, batch in ((1, 1000, 8), (4, 10, 12), (8, 7, 16)):
                plan = EpochPlan(
                    sizes,
                    seed=seed,
                    epoch=epoch,
                    num_streams=streams,
                    window_samples=window,
                    global_batch_size=batch,
                )
                ids = np.array(_ids(plan, sizes), np.int64)
                name = f"seed {seed}, epoch {epoch}, {streams} streams, batch {batch}"
                made[name] = {
                    "sha256": digest(ids),
                    "steps": plan.steps,
                    "left over": plan.left_over,
                    "first": ids[:12].tolist(),
                }
    named = {name: seeds.derive(3, name, 1) for name in ("window", "shards", "dropout", "augment")}
    return {"epochs": made, "seeds": named}


def _ids(plan, sizes):
    bases = np.concatenate([[0], np.cumsum(sizes)])
    streams = []
    for stream in range(plan.num_streams):
        ids = []
        for window in plan.windows(stream):
            read = [
                int(bases[run.shard]) + run.first + i
                for run in window.runs
                for i in range(run.num_samples)
            ]
            ids += [read[place] for place in window.order]
        streams.append(ids)
    per_step = plan.global_batch_size // plan.num_streams
    return [
        each
        for step in range(plan.steps)
        for ids in streams
        for each in ids[step * per_step : (step + 1) * per_step]
    ]


# -------------------------------------------------------------------------------------- pixels


AXES = np.array([[0.2, 0.05, 0.01], [0.2, 0.0, -0.02], [0.2, -0.05, 0.01]])
"""Of the colours, as a data set has them."""


def pixels():
    """Views of generated images; and the two matrices by which they are made, which are exact."""
    settings, made = AugmentConfig(), {}
    for number, (height, width) in enumerate([(64, 64), (150, 301), (421, 97), (700, 900)]):
        image = picture(height, width)
        file = images.encode_jpeg(image)
        rng = seeds.generator(1, "golden", number)
        drawn = augment.draw(height, width, settings, rng)
        points, means = augment.warp_map(drawn, 63), np.array([100.0, 120.0, 90.0])
        colours = augment.colour_map(drawn, means, AXES)
        rng = seeds.generator(1, "golden", number)
        made[f"{width} x {height} px"] = {
            "warp": points.tolist(),
            "colours": colours.tolist(),
            "file": _pixels(np.frombuffer(file, np.uint8)),
            "coloured": _pixels(augment.apply_colour(image, colours)),
            "augmented": _pixels(augment.augment(file, 63, settings, AXES, rng)),
            "validated": _pixels(augment.evaluate_view(file, 63)),
        }
    return made


def picture(height, width):
    """Waves and noise."""
    down, across = np.mgrid[:height, :width]
    waves = [np.sin(down / (5 + c)) + np.cos(across / (9 - c)) for c in range(3)]
    noise = np.random.default_rng(height).integers(-20, 21, (height, width, 3))
    return np.clip(127 + 50 * np.stack(waves, axis=2) + noise, 0, 255).astype(np.uint8)


def _pixels(array):
    numbers = array.astype(np.float64)
    return {"sha256": digest(array), "mean": numbers.mean(), "std": numbers.std()}


# -------------------------------------------------------------------------------------- digits


def embedded():
    """Every file of the embedded data set."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        made = embedded_digits.write(store)
        labels = {
            shard.name: manifest.read_index(store, shard).samples["label"].tolist()
            for split in ("train", "val")
            for shard in made.split(split)
        }
        return {
            "manifest digest": made.digest,
            "labels": {name: digest(json.dumps(each).encode()) for name, each in labels.items()},
            "sha256": {name: digest(store.read(name)) for name in sorted(store.list())},
        }


# ------------------------------------------------------------------- commands and configuration


def helps():
    """What `--help` says of every command, on a terminal of 80 columns."""
    made = {}
    with mock.patch.dict(os.environ, {"COLUMNS": "80", "NO_COLOR": "1"}):
        for name, main in COMMANDS.items():
            said = io.StringIO()
            try:
                with redirect_stdout(said):
                    main(["--help"])
            except SystemExit as ended:
                made[name] = {"status": ended.code, "says": said.getvalue().splitlines()}
    return made


def configuration():
    """Keys and defaults; what names runs and versions; the trials of the digits' search."""
    files = sorted((ROOT / "pipelines" / "configs").glob("*.toml"))
    runs = {file.name: config_file.load(file) for file in files}
    space = search.load(ROOT / "pipelines" / "spaces" / "digits.toml")
    run = runs["digits.toml"]
    return {
        "defaults": {key: repr(value) for key, value in config.flat(RunConfig()).items()},
        "keys of the identity": sorted(RunConfig().identity()),
        "identities": {name: each.digest() for name, each in runs.items()},
        "recipes": {name: each.recipe_digest() for name, each in runs.items()},
        "search": {
            "digest": search.digest(space, run, "0" * 64),
            "draws": search.draws(space, run),
        },
    }


# -------------------------------------------------------------------------------------- MLflow


def tracked():
    """Names in MLflow after a training, its registration and a decision."""
    s3_usage.OF_PROCESS.take()  # what this process has asked of S3 before is no part of it
    with (
        tempfile.TemporaryDirectory() as folder,
        chdir(folder),
        mock.patch.dict(
            os.environ,
            {
                "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
                "GIT_DIR": "/nonexistent",  # the commit is not looked up
                "GIT_COMMIT": "0" * 40,
            },
        ),
    ):
        write_tiny(f"{folder}/data")
        storage = {"storage_url": f"{folder}/runs"}
        tree = {"cluster": storage, "price": {"per_worker_hour": 1.0}}
        run = tiny_run(f"{folder}/data", epochs=1, log_every_steps=1)
        run = config_file.parse({**_tree(run), **tree, "registry": {"model_name": "golden"}})
        ended = alone.train(run, say=lambda line: None)
        mover = promoter.reconciler("golden", say=lambda line: None)
        mover.decide(promoter.next_decision(mover.reconcile(), ended.version.number))
        return _names(ended.version, decisions.url(ended.inputs.config))


def _tree(run):
    import tomllib

    return tomllib.loads(config_file.to_toml(run, whole=False))


def _names(made, decisions_url):
    client = MlflowClient()
    run = client.get_run(made.run_id)
    version = client.get_model_version(made.name, str(made.number))
    registered = client.get_registered_model(made.name)
    logged = client.get_logged_model(version.source.rpartition("/")[2])
    experiment = client.get_experiment(run.info.experiment_id)
    files = [*_files(client, made.run_id)]
    return {
        "experiment": experiment.name,
        "run status": run.info.status,
        "parameters": sorted(run.data.params),
        "metrics": sorted(run.data.metrics),
        "tags of the run": sorted(run.data.tags),
        "inputs of the run": [
            {"source": each.dataset.source_type, "tags": {tag.key: tag.value for tag in each.tags}}
            for each in run.inputs.dataset_inputs
        ],
        "files of the run": sorted(files),
        "parameters of the logged model": sorted(logged.params),
        "tags of the version": sorted(version.tags),
        "aliases": sorted(registered.aliases),
        "tags of the registered model": sorted(registered.tags),
        "decisions are in": decisions_url.rpartition("/runs/")[2],
        "files of the decisions": sorted(open_store(decisions_url).list()),
    }


def _files(client, run_id, folder=None):
    for entry in client.list_artifacts(run_id, folder):
        if entry.is_dir:
            yield from _files(client, run_id, entry.path)
        else:
            yield entry.path


# --------------------------------------------------------------------------------------- files


VALUES = {
    "commands": helps,
    "configuration": configuration,
    "digits": embedded,
    "mlflow-names": tracked,
    "order": order,
    "pixels": pixels,
    "training": training,
}
"""What is made, by the file that it is kept in."""


def stored(name):
    """A file of `tests/golden/` as it is."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def main():
    """Write all files anew."""
    for name, make in VALUES.items():
        tree = {
            "command": "python -m tests.golden_values",
            "what": make.__doc__,
            "machine": machine(),
            "values": make(),
        }
        text = json.dumps(tree, indent=1, ensure_ascii=False) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
        sys.stdout.write(f"{FOLDER / name}.json\n")


if __name__ == "__main__":
    main()
