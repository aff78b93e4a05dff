"""Of two that promote at once never both say that theirs is champion, whatever the store is."""

import multiprocessing
import os
import uuid
from contextlib import ExitStack, contextmanager

import pytest
from mlflow.tracking import MlflowClient
from moto.server import ThreadedMotoServer

from alexnet.adapters.mlflow_registry import DECISIONS
from infra.servers import S3Server
from tests import promoter
from tests.conftest import use_s3
from tests.s3_proxy import unconditional

pytestmark = pytest.mark.slow


@contextmanager
def moto():
    """Another S3 server than SeaweedFS, which lets anybody in."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    made = S3Server(f"http://{host}:{port}", *("moto",) * 4)
    made.client().create_bucket(Bucket="datasets")
    yield made
    server.stop()


@pytest.fixture(params=["seaweedfs", "moto", "ignores conditions", "refuses conditions"])
def kind(request, s3, monkeypatch):
    """One of the stores, which this process uses from now on."""
    with ExitStack() as stack:
        env = s3.env()
        if request.param == "moto":
            env = stack.enter_context(moto()).env()
        elif request.param != "seaweedfs":
            how = request.param.split("s ")[0]
            env["AWS_ENDPOINT_URL"] = stack.enter_context(unconditional(s3, how))
        use_s3(monkeypatch, env)
        yield request.param


@pytest.fixture
def model(mlflow_url, kind, monkeypatch):
    """A registered model with three versions, the first of them champion."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    client, name = MlflowClient(mlflow_url), f"m-{uuid.uuid4().hex[:8]}"
    client.create_registered_model(name, tags={DECISIONS: f"s3://datasets/{name}"})
    for _ in range(3):
        client.create_model_version(name, "s3://mlflow/none")
    promoter.promote(name, 1)  # alone it works on every store
    return name


@pytest.fixture
def racers(model):
    """Pipes to two processes that promote at the same time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.promoter"])
    env = {key: value for key, value in os.environ.items() if key.startswith(("AWS_", "MLFLOW_"))}
    barrier, pipes = context.Barrier(2), [context.Pipe() for _ in range(2)]
    started = []
    for _, theirs in pipes:
        process = context.Process(target=promoter.race, args=(env, model, theirs, barrier))
        process.start()
        started.append(process)
    yield [ours for ours, _ in pipes]
    for (ours, _), process in zip(pipes, started, strict=True):
        ours.send(None)
        process.join(10)
        process.kill()


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=pytest.mark.proof)])
def test_of_two_that_promote_at_once_never_both_say_champion(kind, model, racers, rounds):
    mover, decided = promoter.reconciler(model), 0
    for _ in range(rounds):
        before = mover.log.read()
        champion = mover.registry.aliases()["champion"]
        versions = [version for version in (1, 2, 3) if version != champion]
        for racer, version in zip(racers, versions, strict=True):
            racer.send(version)
        said = dict(zip(versions, [racer.recv() for racer in racers], strict=True))
        winners = [version for version in versions if "is champion;" in said[version]]
        assert len(winners) <= 1, said
        for version in versions:
            assert version in winners or "Give the command again" in said[version], said
        if "conditions" not in kind:
            assert winners, said
        made = mover.log.read()
        assert [each.version for each in made[len(before) :]] == winners
        assert mover.registry.aliases()["champion"] == made[-1].after.champion
        assert not [name for name in mover.log.store.list() if "claim" in name or "probe" in name]
        decided += len(winners)
    print(f"{kind}: {decided} of {rounds} races were decided")
    promoter.promote(model, next(v for v in (1, 2, 3) if v != made[-1].after.champion))
