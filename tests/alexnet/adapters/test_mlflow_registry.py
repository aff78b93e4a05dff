"""A checkpoint has one version, however often it is registered, and moves only its own aliases."""

import mlflow
import pytest
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.tracking import MlflowClient

from alexnet.adapters import mlflow_registry
from alexnet.errors import TrackingError
from tests.registry import candidate
from tests.tiny_data import new_record

pytestmark = pytest.mark.slow


def test_the_newest_version_is_challenger_and_none_becomes_champion_by_itself(registered):
    first, second = registered("aliases"), registered("aliases")
    assert [first.number, second.number] == [1, 2]
    assert [first.aliases, second.aliases] == [("challenger",), ("challenger",)]
    assert MlflowClient().get_registered_model("aliases").aliases == {"challenger": "2"}


def test_a_version_leads_back_to_data_configuration_and_run(registered, trained):
    registered("traced")
    manifest, metrics = trained.manifest, trained.best.metrics
    version = MlflowClient().get_model_version_by_alias("traced", "challenger")
    assert version.tags["manifest_digest"] == manifest.digest
    assert float(version.tags["top1"]) == pytest.approx(metrics["top1"], abs=1e-5)
    assert MlflowClient().get_run(version.run_id).data.tags["manifest_digest"] == manifest.digest
    assert int(version.tags["step"]) == trained.best.step


def test_a_run_that_does_not_exist_is_refused(trained, mlflow_url):
    mlflow.set_tracking_uri(mlflow_url)
    made = candidate(trained, new_record(trained.config, trained.manifest, "none"))
    with pytest.raises(TrackingError, match="registered model nobody: cannot make a version"):
        mlflow_registry.register("nobody", made, "decisions")


def test_a_checkpoint_that_was_registered_is_not_registered_again(registered):
    version = registered("once", run="a")
    assert registered("once", run="a") == version
    assert version.number == 1
    assert len(MlflowClient().search_model_versions("name = 'once'")) == 1


STEPS = [
    (MlflowClient, "create_logged_model"),
    (MlflowClient, "log_model_artifacts"),
    (MlflowClient, "finalize_logged_model"),
    (MlflowClient, "create_registered_model"),
    (MlflowClient, "create_model_version"),
    (MlflowClient, "set_registered_model_alias"),
]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_registration_that_was_cut_off_anywhere_is_completed_by_the_next(
    registered, monkeypatch, when
):
    name = f"cut-off-{when}"
    for owner, step in STEPS:
        with monkeypatch.context() as patch:
            patch.setattr(owner, step, cut_off(getattr(owner, step), when))
            with pytest.raises(TrackingError, match="cut off"):
                registered(name, run="the-same")
    version = registered(name, run="the-same")
    assert version.number == 1
    assert version.aliases == ("challenger",)
    (only,) = MlflowClient().search_model_versions(f"name = '{name}'")
    models = MlflowClient().search_logged_models(
        [MlflowClient().get_run(only.run_id).info.experiment_id],
        filter_string=f"source_run_id = '{only.run_id}'",
    )
    assert len([model for model in models if model.status == LoggedModelStatus.READY]) == 1


def cut_off(step, when):
    """What does a step, or does not, and then fails."""

    def fail(*args, **kwargs):
        if when == "after":
            step(*args, **kwargs)
        raise MlflowException("cut off", error_code=INVALID_PARAMETER_VALUE)

    return fail


def test_a_version_that_was_made_twice_is_there_once(registered):
    client, version = MlflowClient(), None
    version = registered("twice", run="r")
    first = client.get_model_version("twice", "1")
    model_id = first.source.removeprefix("models:/")
    client.create_model_version(
        "twice", first.source, first.run_id, tags=dict(first.tags), model_id=model_id
    )
    assert registered("twice", run="r") == version
    assert [each.version for each in client.search_model_versions("name = 'twice'")] == ["1"]


def test_an_older_run_that_is_registered_again_does_not_take_the_challengers_place(registered):
    registered("order", run="old")
    newer = registered("order", run="new")
    assert registered("order", run="old").aliases == ()
    challenger = MlflowClient().get_model_version_by_alias("order", "challenger")
    assert int(challenger.version) == newer.number == 2
