"""What is known of a search's trials survives being written, and decides which of them is best."""

import dataclasses

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.errors import SearchError
from alexnet.search import record as trials
from alexnet.search.record import Ended, Epoch, SearchRecord, Trial


def one(number, *top1, outcome="finished", loss=1.0, **values):
    epochs = tuple(Epoch(i + 1, value, loss) for i, value in enumerate(top1))
    return Trial(
        number=number, run_name=f"t-{number}", values=values, outcome=outcome, epochs=epochs
    )


def record(*made):
    return SearchRecord(name="s", manifest_digest="m", git_commit="g", trials=made)


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path))


def test_what_was_written_is_read(store):
    known = record(one(0, 0.5, 0.75), one(1, outcome="", lr=0.1), one(2, 0.25, outcome="diverged"))
    known.write(store)
    assert trials.read(store) == known


def test_the_best_epoch_counts_and_of_equals_the_lower_loss_then_the_earlier_trial():
    made = [one(0, 0.9, 0.8), one(1, 0.5, 0.9, loss=0.5), one(2, 0.7), one(3, 0.9, loss=0.5)]
    assert [trial.number for trial in record(*made).ranked] == [1, 3, 0, 2]


@pytest.mark.parametrize("outcome", ["ended early", "diverged", "failed", ""])
def test_only_a_trial_that_finished_can_be_best(outcome):
    assert record(one(0, 0.9, outcome=outcome), one(1, 0.1)).ranked == [one(1, 0.1)]


def test_a_search_in_which_nothing_finished_says_why():
    early = one(0, 0.5, outcome="ended early")
    diverged = one(1, outcome="").ended(Ended("diverged", "loss = nan."))
    failed = one(2, outcome="").ended(Ended("failed", "S3 is away."))
    with pytest.raises(SearchError, match=r"trial 2: S3 is away\. The same command tries again"):
        record(early, diverged, failed).best  # noqa: B018 - it raises
    with pytest.raises(SearchError, match=r"trial 1: loss = nan\. Search among other values\."):
        record(early, diverged).best  # noqa: B018


def test_epochs_that_are_told_again_change_nothing():
    trial = one(0, outcome="")
    for number in (1, 2, 1, 2, 3):
        trial = trial.seen(Epoch(number, number / 10, 1.0))
    assert [epoch.number for epoch in trial.epochs] == [1, 2, 3]


def test_a_trial_takes_the_place_of_what_was_known_of_it():
    known = record(one(0, 0.5), one(1, outcome=""))
    after = known.having(known.trials[1].ended(Ended("failed", "no disk")))
    assert [(each.outcome, each.why) for each in after.trials] == [
        ("finished", ""),
        ("failed", "no disk"),
    ]


def test_a_damaged_record_and_one_of_another_release_are_named(store):
    store.write(trials.NAME, b'{"schema": 1')
    with pytest.raises(SearchError, match=r"search.json: damaged: .* Restore it"):
        trials.read(store)
    dataclasses.replace(record(), schema=9).write(store)
    with pytest.raises(SearchError, match="schema 9; this code reads 1"):
        trials.read(store)
