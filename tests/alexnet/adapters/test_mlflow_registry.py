"""A registered version is the checkpoint, takes images, and moves only its own aliases."""

import base64

import mlflow
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from alexnet import checkpoint
from alexnet.adapters import mlflow_registry
from alexnet.adapters.mlflow_tracking import TrackedRun
from alexnet.errors import TrackingError
from tests.tiny_data import NUM_VAL, colour_samples, new_record, tiny_run, train_alone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tiny_url, tmp_path_factory):
    """Configuration, manifest, checkpoint folder and metrics of a short run."""
    from alexnet import manifest
    from alexnet.adapters.object_store import open_store

    folder = tmp_path_factory.mktemp("trained")
    config, store = tiny_run(tiny_url, epochs=8), open_store(tiny_url)
    trainer, _ = train_alone(config, manifest.read(store), store, folder)
    with trainer.checkpoints.best(pytest.fail) as (best, checkpoint):
        yield config, manifest.read(store), checkpoint, best.metrics


@pytest.fixture
def registered(trained, mlflow_url, monkeypatch):
    """A function that registers the checkpoint under a name; the version."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)

    def register(name, again=False):
        import dataclasses

        config, manifest, folder, metrics = trained
        registry = dataclasses.replace(config.registry, model_name=name)
        config = dataclasses.replace(config, registry=registry)
        tracked = TrackedRun(new_record(config, manifest, name), print)
        tracked.start()
        args = (folder, config, manifest, tracked.run_id, metrics)
        version = mlflow_registry.register(*args)
        if again:
            assert mlflow_registry.register(*args) == version
        tracked.finish(dataclasses.replace(tracked.record, status="FINISHED"))
        return version

    return register


def test_the_model_takes_images_and_gives_names_and_probabilities(registered, trained):
    registered("served")
    model = mlflow.pyfunc.load_model("models:/served@challenger")
    samples = list(colour_samples("val", NUM_VAL))
    answer = model.predict(pd.DataFrame({"image": [sample.jpeg for sample in samples]}))
    right = [["red", "green", "blue"][sample.label] for sample in samples]
    top1 = sum(a == b for a, b in zip(answer["class"], right, strict=True)) / NUM_VAL
    assert top1 == trained[3]["top1"]  # what is served is what was measured
    assert all(sum(p) == pytest.approx(1) for p in answer["probabilities"])
    assert [max(p) for p in answer["probabilities"]] == list(answer["probability"])


def test_base64_is_the_same_image(registered):
    registered("base64")
    model = mlflow.pyfunc.load_model("models:/base64@challenger").unwrap_python_model()
    jpeg = next(colour_samples("val", 1)).jpeg
    text = base64.b64encode(jpeg).decode()
    answers = model.predict(None, pd.DataFrame({"image": [jpeg, text]}))
    assert answers["probabilities"][0] == answers["probabilities"][1]


def test_the_first_version_is_champion_and_the_second_only_challenger(registered):
    first, second = registered("aliases"), registered("aliases")
    assert [first.number, second.number] == [1, 2]
    assert [first.aliases, second.aliases] == [("challenger", "champion"), ("challenger",)]
    client = MlflowClient()
    assert int(client.get_model_version_by_alias("aliases", "champion").version) == 1
    assert int(client.get_model_version_by_alias("aliases", "challenger").version) == 2


def test_a_version_leads_back_to_data_configuration_and_run(registered, trained):
    registered("traced")
    _, manifest, folder, metrics = trained
    version = MlflowClient().get_model_version_by_alias("traced", "challenger")
    assert version.tags["manifest_digest"] == manifest.digest
    assert float(version.tags["top1"]) == pytest.approx(metrics["top1"], abs=1e-5)
    assert MlflowClient().get_run(version.run_id).data.tags["manifest_digest"] == manifest.digest
    assert int(version.tags["step"]) == checkpoint.read_meta(folder).step


def test_a_run_that_does_not_exist_is_refused(trained, mlflow_url):
    mlflow.set_tracking_uri(mlflow_url)
    config, manifest, folder, metrics = trained
    with pytest.raises(TrackingError, match="registered model alexnet: cannot make a version"):
        mlflow_registry.register(folder, config, manifest, "0" * 32, metrics)


def test_a_checkpoint_that_was_registered_is_not_registered_again(registered):
    version = registered("once", again=True)
    assert version.number == 1
    assert len(MlflowClient().search_model_versions("name = 'once'")) == 1
