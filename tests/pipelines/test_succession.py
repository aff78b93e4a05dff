"""Wherever a promotion is killed, and however many promote, there is one champion and it is valid.

With MLflow on PostgreSQL and its artifacts and the decisions in S3; promoters are processes.
"""

import multiprocessing
import os
import signal
import uuid

import pytest
from mlflow.tracking import MlflowClient

from alexnet.adapters.mlflow_registry import DECISIONS
from alexnet.promotion import decisions
from tests import promoter

pytestmark = pytest.mark.slow

MOST_REQUESTS = 60
"""More than a promotion sends."""


@pytest.fixture(scope="module")
def processes():
    """Processes that start with everything imported, and share nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.promoter"])
    return context


@pytest.fixture
def new_model(mlflow_on_postgres, s3_env, bucket_url, monkeypatch):
    """A function that makes a registered model with three versions, the first of them champion."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_on_postgres)
    client = MlflowClient(mlflow_on_postgres)
    run = client.create_run("0").info.run_id

    def make():
        name = f"m-{uuid.uuid4().hex[:8]}"
        client.create_registered_model(name, tags={DECISIONS: f"{bucket_url}/{name}"})
        for _ in range(3):
            client.create_model_version(name, "s3://mlflow/none", run)
        promoter.promote(name, 1)
        return name

    return make


@pytest.fixture
def model(new_model):
    return new_model()


def env():
    """What leads to the servers."""
    return {key: value for key, value in os.environ.items() if key.startswith(("AWS_", "MLFLOW_"))}


def standing(mover):
    held = mover.registry.aliases()
    return decisions.AliasTargets(held.get("champion"), held.get("previous"))


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.proof)])
def test_a_promotion_that_is_killed_before_any_request_leaves_a_champion_and_is_completed(
    processes, new_model, every
):
    seen = []
    for request in range(1, MOST_REQUESTS, every):
        model, said = new_model(), []
        process = processes.Process(target=promoter.in_process, args=(env(), model, 2, request))
        process.start()
        process.join()
        mover = promoter.reconciler(model, said.append)
        assert standing(mover).champion in (1, 2)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        made = mover.reconcile()
        seen.append((len(made), bool(said)))
        assert standing(mover) == made[-1].after
        assert mover.log.is_done(made[-1])
        assert made[-1].version == len(made)
    assert process.exitcode == 0, "a promotion sends more requests than this test counts"
    # Killed before the decision was made, or after it; its last request marks it as done.
    decided = seen.index((2, True))
    assert decided * every > 3
    assert seen == [(1, False)] * decided + [(2, True)] * (len(seen) - decided)
    assert (len(seen) - decided) * every > 5


@pytest.mark.parametrize("rounds", [4, pytest.param(50, marks=pytest.mark.proof)])
def test_of_two_that_promote_at_once_one_wins(processes, model, rounds):
    mover = promoter.reconciler(model)
    for _ in range(rounds):
        barrier, outcome = processes.Barrier(2), processes.Queue()
        racing = [
            processes.Process(
                target=promoter.in_process, args=(env(), model, number, 0, barrier, outcome)
            )
            for number in (2, 3)
        ]
        before = mover.log.read()
        for process in racing:
            process.start()
        found = [outcome.get(timeout=60) for _ in racing]
        for process in racing:
            process.join()
        (winner,) = (each for each in found if isinstance(each, int))
        (refusal,) = (each for each in found if isinstance(each, str))
        assert f"version {winner} promoted. Give the command again" in refusal
        made = mover.log.read()
        assert len(made) == len(before) + 1
        assert standing(mover) == made[-1].after
        assert made[-1].version == winner == standing(mover).champion


def test_one_that_was_paused_in_the_middle_does_not_undo_what_was_decided_since(model):
    mover, other = promoter.reconciler(model), promoter.reconciler(model)
    made = mover.reconcile()
    moves = mover.registry.set_alias
    later = []

    def paused(alias, number):
        if not later:
            later.append(True)
            promoter.promote(model, 3)
        moves(alias, number)

    mover.registry.set_alias = paused
    mover.decide(promoter.next_decision(made, 2))
    assert standing(other) == decisions.AliasTargets(3, 2)
    assert [each.version for each in other.log.read()] == [1, 2, 3]


def test_an_alias_that_was_moved_by_hand_is_noted_and_stays(model):
    said = []
    mover = promoter.reconciler(model, said.append)
    mover.registry.set_alias("champion", 3)
    made = mover.reconcile()
    assert (made[-1].kind, made[-1].version) == ("moved by hand", 3)
    assert standing(mover) == decisions.AliasTargets(3, 1)
    assert said == ["alias champion was moved by hand from 1 to 3; noted"]
    mover.registry.set_alias("champion", None)
    assert (
        decisions.current_aliases(mover.reconcile())
        == standing(mover)
        == decisions.AliasTargets(None, None)
    )


def test_a_cut_off_decision_about_a_version_that_was_deleted_holds_up_nobody(model):
    said = []
    mover = promoter.reconciler(model, said.append)
    mover.log.append(promoter.next_decision(mover.reconcile(), 3))
    MlflowClient().delete_model_version(model, "3")
    made = mover.reconcile()
    assert "was deleted since: it is left as it is" in said[0]
    assert made[-1].kind == "moved by hand"
    assert standing(mover).champion == 1
