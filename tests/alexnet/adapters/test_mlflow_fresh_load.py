"""A version that does not load, or is another network than it was, is told from one that is."""

import shutil

import pytest

from alexnet import classifier
from alexnet.adapters import mlflow_fresh_load, mlflow_model
from alexnet.classifier import ABOUT, WEIGHTS, Classifier
from tests.registry import candidate
from tests.tiny_data import new_record

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(trained, tmp_path_factory):
    record = new_record(trained.config, trained.manifest, "fresh")
    kept = tmp_path_factory.mktemp("fresh") / "model"
    with mlflow_model.staged(candidate(trained, record)) as (folder, _):
        shutil.copytree(folder, kept)
    return kept


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "model")


def test_a_whole_version_loads_and_gives_the_logits_that_were_registered(folder, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    program = folder / "mlflow_served_model.py"
    asks = "import os\nassert 'AWS_SECRET_ACCESS_KEY' not in os.environ\n"
    lines = program.read_text().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if line.startswith("import base64"))
    program.write_text("".join([*lines[:at], asks, *lines[at:]]))
    found = mlflow_fresh_load.load(folder)
    assert found.problem == ""
    assert found.difference < 1e-5
    assert 0 < found.alone_ms < 60_000


def test_other_weights_give_other_logits(folder):
    data = folder / "artifacts"
    network = Classifier(data / WEIGHTS, data / ABOUT)
    weights = {key: value.clone() for key, value in network.network.state_dict().items()}
    weights["fc8.bias"][0] += 1
    classifier.write(data, weights, network.about)
    assert mlflow_fresh_load.load(folder).difference == pytest.approx(1, abs=1e-3)


def test_a_version_that_fails_is_told_by_its_last_line(folder):
    (folder / "mlflow_served_model.py").write_text("raise OSError('broken on purpose')")
    found = mlflow_fresh_load.load(folder)
    assert "broken on purpose" in found.problem
    assert found.difference == found.alone_ms == float("inf")
