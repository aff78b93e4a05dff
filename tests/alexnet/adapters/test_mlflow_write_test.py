"""What a training does to MLflow is tried on real servers, and nothing of it is left behind."""

import dataclasses
import sqlite3
import sys
import uuid

import pytest
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from alexnet.adapters import mlflow_write_test
from alexnet.config import RegistryConfig
from alexnet.errors import TrackingError
from infra import servers
from infra.processes import HOST, environment, free_ports, running

pytestmark = pytest.mark.slow


def check(url, experiment, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    settings = dataclasses.replace(RegistryConfig(), experiment=experiment)
    return mlflow_write_test.check_writable(settings)


def all_of(url):
    """Everything that MLflow shows, deleted or not."""
    client = MlflowClient(url)
    experiments = client.search_experiments(view_type=ViewType.ALL)
    runs = client.search_runs([each.experiment_id for each in experiments], "", ViewType.ALL)
    models = client.search_registered_models()
    return (
        [(each.name, each.tags) for each in experiments],
        [run.info.run_id for run in runs],
        [model.name for model in models],
    )


@pytest.fixture
def experiment():
    return f"e-{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize("there", [True, False])
def test_a_server_that_serves_artifacts_is_well_and_nothing_is_left(
    mlflow_url, s3, experiment, there, monkeypatch
):
    if there:
        MlflowClient(mlflow_url).create_experiment(experiment)

    def objects():
        return s3.client().list_objects_v2(Bucket="mlflow").get("Contents", [])

    before = all_of(mlflow_url), objects()
    found = check(mlflow_url, experiment, monkeypatch)
    assert (found.level, found.name) == ("ok", "MLflow"), found
    assert found.text.endswith("a tag, a model and a file were written, read and deleted")
    assert (all_of(mlflow_url), objects()) == before


def test_a_deleted_experiment_is_named(mlflow_url, experiment, monkeypatch):
    client = MlflowClient(mlflow_url)
    client.delete_experiment(client.create_experiment(experiment))
    with pytest.raises(TrackingError, match=f"experiment '{experiment}' was deleted.*Restore it"):
        check(mlflow_url, experiment, monkeypatch)


@pytest.fixture(scope="module")
def own_disk(tmp_path_factory):
    """A server without S3 that lets its clients write artifacts into a folder, each on its disk."""
    folder = tmp_path_factory.mktemp("own-disk")
    (port,) = free_ports(1)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)),
        *("--workers", "1", "--no-serve-artifacts", "--default-artifact-root", f"{folder}/art"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
    ]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    quiet["AWS_EC2_METADATA_DISABLED"] = "true"
    with running("own-disk", command, folder, environment(quiet)) as process:
        process.wait_until(lambda: servers.answers(f"http://{HOST}:{port}/health"))
        yield f"http://{HOST}:{port}", folder / "art"


@pytest.mark.parametrize("there", [True, False])
def test_a_server_whose_artifacts_are_a_folder_of_each_machine_fails(
    own_disk, experiment, there, monkeypatch
):
    url, folder = own_disk
    if there:
        MlflowClient(url).create_experiment(experiment)
    before = all_of(url)
    with pytest.raises(TrackingError, match=f"artifacts in {folder}/.*--serve-artifacts or"):
        check(url, experiment, monkeypatch)
    assert all_of(url) == before
    assert not folder.exists()


def test_a_server_that_cannot_read_what_we_write_is_a_warning(
    own_disk, s3_env, experiment, monkeypatch
):
    url, _ = own_disk
    place = f"s3://mlflow/{experiment}"
    MlflowClient(url).create_experiment(experiment, place)
    before = all_of(url)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", s3_env.endpoint)
    found = check(url, experiment, monkeypatch)
    assert found.level == "warn"
    assert f"cannot read {place}, which this machine can write: " in found.text
    assert all_of(url) == before
    assert "Contents" not in s3_env.client().list_objects_v2(Bucket="mlflow", Prefix=experiment)


def test_a_database_of_this_machine_is_left_as_it_is(tmp_path, experiment, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert check("sqlite:///new/mlflow.db", experiment, monkeypatch).level == "ok"
    assert list(tmp_path.iterdir()) == []
    url = f"sqlite:///{tmp_path}/mlflow.db"
    MlflowClient(url).create_experiment(experiment)
    before = all_of(url)
    assert check(url, experiment, monkeypatch).level == "ok"
    assert all_of(url) == before
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("DELETE FROM experiments WHERE name = 'Default'")
    connection.close()
    found = check(url, "another", monkeypatch)
    assert (found.level, found.text.endswith("is not known before it is made")) == ("warn", True)
    with pytest.raises(TrackingError, match="/proc"):
        check("sqlite:////proc/x/mlflow.db", experiment, monkeypatch)
