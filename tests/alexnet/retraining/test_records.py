"""Retrainings and looks are read as they were written; one that is damaged is named."""

import dataclasses

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.errors import RetrainingError
from alexnet.retraining import records
from alexnet.retraining.records import Ingredients, Retraining

NOW = Ingredients("m2", "c1", "g1")


def one(number=1, ingredients=NOW, **fields):
    name = f"run-{number}"
    return Retraining(
        number=number, ingredients=ingredients, reason="new data", run_name=name, **fields
    )


def test_the_last_look_is_kept_and_a_damaged_one_named(tmp_path):
    store = open_store(str(tmp_path))
    assert records.read_look(store) is None
    for action in ("train", "skip"):
        records.write_look(store, action, "because")
    look = records.read_look(store)
    assert (look.action, look.reason) == ("skip", "because")
    assert records.read(store) == []
    store.write(records.LOOK, b'{"time_ms": 1}')
    with pytest.raises(RetrainingError, match=r"look.json: damaged: .* Delete it\."):
        records.read_look(store)


def test_they_are_read_as_they_were_written_in_order(tmp_path):
    store = open_store(str(tmp_path))
    made = [one(number) for number in (1, 2, 10)]
    for each in reversed(made):
        records.write(store, each)
    assert records.read(store) == made
    ended = made[1].ended("refused")
    records.write(store, ended)
    assert records.read(store)[1] == ended
    assert ended.ended_ms >= ended.begun_ms
    assert dataclasses.replace(ended, state="training", outcome="", ended_ms=None) == made[1]


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"surprise": 1}'])
def test_one_that_is_damaged_is_said(tmp_path, data):
    store = open_store(str(tmp_path))
    store.write("retrainings/000001.json", data)
    with pytest.raises(RetrainingError, match="000001.json: damaged"):
        records.read(store)
