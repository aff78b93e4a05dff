"""A process that decides about a version, and can be killed before any request that it sends."""

import os
import signal

import botocore.httpsession
import requests

from alexnet.adapters import mlflow_connection
from alexnet.adapters.mlflow_registry import Registry
from alexnet.adapters.object_store import open_store
from alexnet.config import GateConfig
from alexnet.errors import AlexNetError, PromotionError
from alexnet.promotion import decisions
from alexnet.promotion.aliases import AliasReconciler
from alexnet.promotion.decisions import AliasTargets, Decision, DecisionLog
from alexnet.registry.rule_result import RuleResult
from pipelines.steps import gate_evidence, promotion
from pipelines.steps.gate_evidence import Judged
from pipelines.steps.promotion import PromotionRequest

GOOD = RuleResult("good", "yes", "yes", holds=True)


def reconciler(model, say=print):
    """Of a registered model, as `pipelines/promote.py` makes it."""
    mlflow_connection.connect()
    registry = Registry(model)
    log = DecisionLog(open_store(registry.decisions_url()))
    return AliasReconciler(registry, log, lambda decision: None, say)


def next_decision(made, version):
    """That a version becomes champion, on top of what was decided."""
    before = decisions.current_aliases(made)
    after = AliasTargets(version, before.champion)
    return Decision(
        number=len(made) + 1, kind="promoted", version=version, before=before, after=after
    )


def in_process(env, *arguments):
    """Make a version champion, in a process that was forked from one with another environment."""
    os.environ.update(env)
    promote(*arguments)


def promote(model, version, kill_before=0, barrier=None, outcome=None):
    """Make a version champion.

    Args:
        model: name of the registered model.
        version: number.
        kill_before: number of the request that is not sent any more; 0: none is left out.
        barrier: waited for between reading and deciding.
        outcome: queue for what became of it.
    """
    if kill_before:
        _count_requests(kill_before)
    mover = reconciler(model)
    made = mover.reconcile()
    if barrier:
        barrier.wait()
    try:
        mover.decide(next_decision(made, version))
        result = version
    except PromotionError as error:
        result = str(error)
    if outcome:
        outcome.put(result)


def _count_requests(kill_before):
    """Of MLflow and of S3, together."""
    sent = 0

    def counted(send):
        def wrapper(*args, **kwargs):
            nonlocal sent
            sent += 1
            if sent == kill_before:
                os.kill(os.getpid(), signal.SIGKILL)
            return send(*args, **kwargs)

        return wrapper

    requests.Session.send = counted(requests.Session.send)
    session = botocore.httpsession.URLLib3Session
    session.send = counted(session.send)


def race(env, model, connection, barrier):
    """Promote each version that comes through a pipe, and send back what was said.

    By the promotion's own code; that a version is good is taken for granted once both have read
    what was decided before.
    """
    os.environ.update(env)

    def judge(case):
        barrier.wait(60)
        return Judged([GOOD], [], [])

    gate_evidence.judge = judge
    for version in iter(connection.recv, None):
        said = []
        mover = reconciler(model, said.append)
        request = PromotionRequest(version=str(version))
        try:
            promotion.promote(mover, mover.registry, GateConfig(), request)
        except AlexNetError as error:
            said.append(str(error))
        connection.send(said[-1])
