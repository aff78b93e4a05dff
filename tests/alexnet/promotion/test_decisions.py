"""Of two that decide at once one does, and the present champion follows from what was decided."""

import dataclasses
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.adapters.object_store import open_store, s3_client
from alexnet.config import RunConfig
from alexnet.errors import PromotionError
from alexnet.promotion import decisions
from alexnet.promotion.decisions import AliasTargets, Decision, DecisionLog
from alexnet.registry.rule_result import RuleResult
from tests.s3_proxy import unconditional


def add(made, kind, version):
    """One more decision, as it would be made."""
    before = decisions.current_aliases(made)
    if kind == "rolled back":
        return [*made, decisions.rollback(made, "worse in use")]
    after = before if kind == "refused" else AliasTargets(version, before.champion)
    return [*made, decided(len(made) + 1, kind, version, before, after)]


def decided(number=1, kind="promoted", version=1, before=(None, None), after=(1, None), **more):
    return Decision(
        number=number,
        kind=kind,
        version=version,
        before=AliasTargets(*before),
        after=AliasTargets(*after),
        **more,
    )


@given(st.lists(st.sampled_from(["promoted", "refused", "moved by hand", "rolled back"])))
def test_what_a_decision_leaves_is_what_the_next_one_finds(kinds):
    made = []
    for version, kind in enumerate(kinds, start=1):
        if kind == "rolled back" and decisions.current_aliases(made).previous is None:
            with pytest.raises(PromotionError, match="none before it to go back to"):
                decisions.rollback(made, "worse")
            continue
        made = add(made, kind, version)
        assert decisions.current_aliases(made) == made[-1].after
        assert decisions.current_aliases(made[:-1]) == made[-1].before


def test_rollbacks_go_back_one_champion_each():
    made = []
    for version in (1, 2, 3):
        made = add(made, "promoted", version)
    seen = []
    for _ in range(2):
        made = add(made, "rolled back", None)
        seen.append(decisions.current_aliases(made))
    assert seen == [AliasTargets(2, 1), AliasTargets(1, None)]


def test_a_version_that_was_rolled_back_is_known_until_it_is_promoted_again():
    made = add(add([], "promoted", 1), "promoted", 2)
    made = add(made, "rolled back", None)
    assert decisions.rolled_back(made, 2) == made[-1]
    assert decisions.rolled_back(made, 1) is None
    assert decisions.rolled_back(add(made, "promoted", 2), 2) is None


def test_a_champion_that_was_taken_away_by_hand_has_no_predecessor():
    made = [*add([], "promoted", 1), decided(2, "moved by hand", None, (1, None), (None, None))]
    assert decisions.current_aliases(made) == AliasTargets(None, None)


STORES = ["s3", "ignore", "refuse"]


@pytest.fixture(params=["local", *(pytest.param(each, marks=pytest.mark.slow) for each in STORES)])
def log(request, tmp_path, monkeypatch):
    """In a folder, in S3, and in S3 whose conditions of writes are ignored or refused."""
    if request.param == "local":
        yield DecisionLog(open_store(str(tmp_path / "log")))
        return
    url, server = (request.getfixturevalue(each) for each in ("bucket_url", "s3_env"))
    if request.param == "s3":
        yield DecisionLog(open_store(url))
        return
    with unconditional(server, request.param) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        s3_client.forget_client()
        yield DecisionLog(open_store(url))


def test_decisions_are_read_as_they_were_made(log):
    verdict = RuleResult("gain", "+0.01", "at least +0.00", holds=True)
    made = [decided(verdicts=(verdict,), reason="späte Wahl"), decided(2, "refused", 7)]
    for each in made:
        log.append(each)
    assert log.read() == made
    assert [log.is_done(each) for each in made] == [False, False]
    log.mark_done(made[0])
    log.mark_done(made[0])
    assert [log.is_done(each) for each in made] == [True, False]
    assert log.read() == made


def test_a_number_is_given_once(log):
    log.append(decided())
    with pytest.raises(PromotionError, match="decision 1 has just been made by"):
        log.append(decided(version=2, after=(2, None)))
    assert [each.version for each in log.read()] == [1]
    assert log.store.list() == ["decisions/000001.json"]


@pytest.mark.slow
@pytest.mark.parametrize("log", ["local", "s3"], indirect=True)
def test_of_many_that_decide_at_once_one_does(log):
    outcomes = []
    barrier = threading.Barrier(8)

    def decide(version):
        barrier.wait()
        try:
            log.append(decided(version=version, after=(version, None)))
            outcomes.append(version)
        except PromotionError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=decide, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = (outcome for outcome in outcomes if isinstance(outcome, int))
    (only,) = log.read()
    assert only.version == winner
    said = f"version {winner} promoted. Give the command again"
    assert all(said in outcome for outcome in outcomes if outcome != winner)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda store: store.delete("decisions/000001.json"), "decisions up to 2, but not all"),
        (lambda store: store.write("decisions/000001.json", b"{"), "000001.json: damaged"),
        (lambda store: store.write("decisions/000001.json", b'{"schema": 9}'), "schema 9"),
    ],
)
def test_a_log_that_is_not_whole_is_refused(tmp_path, spoil, message):
    log = DecisionLog(open_store(str(tmp_path)))
    for number in (1, 2):
        log.append(decided(number))
    spoil(log.store)
    with pytest.raises(PromotionError, match=message):
        log.read()


def test_the_folder_is_of_the_registered_model_and_of_no_run():
    config = RunConfig()
    cluster = dataclasses.replace(config.cluster, storage_url="s3://b/runs")
    assert decisions.url(dataclasses.replace(config, cluster=cluster)) == (
        "s3://b/runs/_registry/alexnet"
    )


def test_history_names_version_champion_who_and_why():
    assert decisions.history([]) == "nothing was decided yet"
    broken = RuleResult("calibration error", "0.5", "at most 0.2", holds=False)
    made = decided(verdicts=(broken,), reason="shown to a customer", by="ada@host", time_ms=0)
    assert decisions.history([made]) == (
        "   1  1970-01-01 00:00:00 UTC  version 1 promoted, champion 1, by ada@host; against: "
        "calibration error; shown to a customer"
    )
