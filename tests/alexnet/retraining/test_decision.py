"""A retraining is begun when something is new, gone on with when cut off, and never done twice."""

import pytest

from alexnet.retraining import decision
from alexnet.retraining.records import Ingredients, Retraining

NOW = Ingredients("m2", "c1", "g1")


def one(number=1, ingredients=NOW, **fields):
    name = f"run-{number}"
    return Retraining(
        number=number, ingredients=ingredients, reason="new data", run_name=name, **fields
    )


def plan(done, champion=None, wanted=NOW, *, code_counts=True):
    return decision.plan(done, wanted, champion, code_counts=code_counts)


def test_the_first_is_begun():
    assert plan([]) == ("train", "the first training")


@pytest.mark.parametrize(
    ("champion", "reason"),
    [
        (Ingredients("m1", "c1", "g1"), "new data"),
        (Ingredients("m2", "c0", "g1"), "new configuration"),
        (Ingredients("m2", "c1", "g0"), "new code"),
        (Ingredients("m1", "c0", "g0"), "new data and configuration and code"),
    ],
)
def test_one_is_begun_when_the_champion_was_made_of_something_else(champion, reason):
    assert plan([], (3, champion)) == ("train", reason)


def test_nothing_is_done_when_the_champion_was_made_of_the_same():
    assert plan([], (3, NOW)) == (
        "skip",
        "champion version 3 has the same data, configuration and code",
    )


def test_other_code_counts_only_where_it_is_to():
    champion = (3, NOW._replace(git_commit="g0"))
    assert plan([], champion).action == "train"
    assert plan([], champion, code_counts=False) == (
        "skip",
        "champion version 3 has the same data and configuration",
    )


def test_what_was_refused_is_not_trained_again():
    champion = (1, NOW._replace(manifest_digest="m1"))
    done = [one(state="ended", outcome="refused")]
    assert plan(done, champion) == (
        "skip",
        "retraining 1 had the same data, configuration and code: refused",
    )
    assert plan(done, champion, NOW._replace(manifest_digest="m3")).action == "train"


@pytest.mark.parametrize("state", ["training", "judging"])
def test_one_that_was_cut_off_is_gone_on_with_although_newer_data_is_there(state):
    newer = NOW._replace(manifest_digest="m3", git_commit="g2")
    expected = ("continue", f"retraining 1 was interrupted while {state}")
    assert plan([one(state=state)], None, newer) == expected


def test_one_that_was_cut_off_is_given_up_for_another_configuration():
    other = NOW._replace(recipe_digest="c2")
    assert plan([one()], None, other) == ("train", "new configuration")


def test_one_that_waits_for_a_person_does_not_hold_up_newer_data():
    waits = [one(state="judging", outcome="waits for approval")]
    assert plan(waits) == ("continue", "retraining 1 waits for approval")
    assert plan(waits, None, NOW._replace(manifest_digest="m3")) == ("train", "new data")
