"""A version is evaluated to what training measured, in any number of shares."""

import numpy as np
import pytest

from alexnet.adapters import mlflow_model
from alexnet.classifier import ABOUT, WEIGHTS, Classifier
from alexnet.errors import DataError
from alexnet.promotion import prediction_tasks
from alexnet.promotion.prediction_tasks import Evaluation
from alexnet.registry import artifact
from tests.registry import candidate, trained_run
from tests.tiny_data import NUM_VAL, new_record


@pytest.fixture(scope="module")
def run(tiny_url, tmp_path_factory):
    with trained_run(tiny_url, tmp_path_factory.mktemp("run"), epochs=2) as run:
        yield run


@pytest.fixture(scope="module")
def network(run):
    record = new_record(run.config, run.manifest, "run")
    with mlflow_model.staged(candidate(run, record)) as (folder, _):
        return Classifier(folder / artifact.DATA / WEIGHTS, folder / artifact.DATA / ABOUT)


def evaluated(run, network, share, monkeypatch):
    monkeypatch.setattr(prediction_tasks, "SHARE", share)
    work = Evaluation(store=run.data, manifest=run.manifest, classifier=network)
    shares = [work(number) for number in work.shares()]
    return len(shares), work.predictions(reversed(shares), "w")


@pytest.mark.slow
def test_it_is_what_training_measured(run, network, monkeypatch):
    _, found = evaluated(run, network, 512, monkeypatch)
    assert len(found.label) == NUM_VAL
    assert found.top1 == run.best.metrics["top1"]
    assert found.loss.mean() == pytest.approx(run.best.metrics["loss"], abs=1e-6)
    assert found.manifest_digest == run.manifest.digest


@pytest.mark.slow
def test_shares_in_any_order_are_the_whole(run, network, monkeypatch):
    _, whole = evaluated(run, network, 512, monkeypatch)
    number, found = evaluated(run, network, 7, monkeypatch)
    assert number == 5
    assert np.array_equal(found.label, whole.label)
    assert np.array_equal(found.predicted, whole.predicted)
    assert np.allclose(found.loss, whole.loss, atol=1e-6)


def test_images_of_other_classes_are_refused(run):
    prediction_tasks.check_classes("alexnet version 2", run.manifest.classes, run.manifest)
    with pytest.raises(DataError, match="version 2: knows 3 classes, which are not the 3 of"):
        prediction_tasks.check_classes("alexnet version 2", ("red", "blue", "green"), run.manifest)
