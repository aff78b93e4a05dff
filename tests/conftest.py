"""Real servers, one of each a session, and the real photographs where they are."""

import os
import uuid
from pathlib import Path

import pytest

from alexnet.adapters import object_store
from infra import local_stack

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def quiet_surroundings():
    """Nothing of the caller's cluster, tracker or credentials reaches a test, or is written to."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AWS_ACCESS", "AWS_SECRET", "AWS_ENDPOINT", "AWS_PROFILE")) or (
                name.startswith(("MLFLOW_", "RAY_"))
            ):
                patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        yield


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """A SeaweedFS server."""
    with local_stack.s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_env(s3, monkeypatch):
    """Credentials and endpoint of the server in this process's environment."""
    for name, value in s3.env().items():
        monkeypatch.setenv(name, value)
    object_store.forget_client()
    yield s3
    object_store.forget_client()


@pytest.fixture
def bucket_url(s3_env):
    """A prefix in the server that nothing was written to."""
    return f"s3://datasets/{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def mlflow_url(s3, tmp_path_factory):
    """An MLflow server."""
    with local_stack.mlflow_server(tmp_path_factory.mktemp("mlflow"), s3.env()) as url:
        yield url


@pytest.fixture(scope="session")
def cluster(s3, mlflow_url, tmp_path_factory):
    """A Ray cluster whose node knows the S3 and MLflow servers."""
    env = {**s3.env(), "MLFLOW_TRACKING_URI": mlflow_url}
    with local_stack.ray_head(tmp_path_factory.mktemp("ray"), env) as head:
        yield head


@pytest.fixture(scope="session")
def photos():
    """Folder with the real photographs; they may not be copied into this repository."""
    if not PHOTOS.is_dir():
        pytest.skip(f"the real photographs are not at {PHOTOS}")
    return PHOTOS
