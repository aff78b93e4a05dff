"""A document with a wrong key, type or schema is named; older ones without a field are read."""

import dataclasses
import json
import re

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.promotion import decisions
from alexnet.registry import lineage
from alexnet.retraining import records
from alexnet.runs import checkpoint, run_record
from alexnet.search import record as search
from alexnet.storage import lease
from alexnet.telemetry import events

READERS = {
    each.kind: each
    for each in (
        *(decisions.READER, lineage.READER, records.READER, records.LOOK_READER),
        *(checkpoint.READER, run_record.READER, search.READER, lease.READER, events.READER),
    )
}


def schemas(kind):
    return [each for each in dataclasses.fields(kind) if each.name == "schema"]


LOST = ["a node", 3, 2, 1.5]
"""As releases wrote it that knew no costs."""

RUN = {
    "schema": 1,
    **dict.fromkeys(("key", "name", "manifest_digest", "data_name", "data_url"), "x"),
    **{"config": "", "git_commit": "g", "identity": {}, "lost": [LOST]},
}


def test_what_an_older_release_did_not_know_is_as_by_default():
    made = run_record.READER.parse(json.dumps(RUN), "here")
    assert made.lost == (run_record.LostWork(*LOST, cost=0.0),)
    assert (made.usage, made.ended_ms) == (run_record.NOTHING, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lost": [LOST, ["a", "3", 2, 1.5]]}, "lost[1].resumed_at = '3': must be int, not str"),
        ({"lost": [["a"]]}, "lost[0] = ['a']: must have 5 values, not 1"),
        ({"lost": 3}, "lost = 3: must be a list"),
        ({"reached": True}, "reached = True: must be int, not bool"),
        ({"ended_ms": "now"}, "ended_ms = 'now': must be int, not str"),
        ({"status": "DONE"}, "status = 'DONE': must be one of RUNNING, FINISHED"),
        ({"identity": []}, "identity = []: must be a section with keys"),
        ({"statuss": 1}, "statuss: unknown key. Did you mean status?"),
        ({"name": None}, "name = None: must be str, not NoneType"),
    ],
)
def test_what_is_wrong_inside_is_named(tmp_path, changes, message):
    store = open_store(str(tmp_path))
    store.write(run_record.NAME, json.dumps(RUN | changes).encode())
    wanted = rf"run\.json: damaged: {re.escape(message)}.*\. Restore it, or start anew"
    with pytest.raises(run_record.CheckpointError, match=wanted):
        run_record.read(store)


@pytest.mark.parametrize("key", ["schema", "name", "identity"])
def test_what_is_missing_is_named(key):
    text = json.dumps({name: value for name, value in RUN.items() if name != key})
    with pytest.raises(run_record.CheckpointError, match=rf"here: damaged: {key}: missing\. "):
        run_record.READER.parse(text, "here")


@pytest.mark.parametrize("kind", [kind for kind in READERS if schemas(kind)])
def test_another_release_is_named_whatever_else_is_in_the_document(kind):
    with pytest.raises(READERS[kind].error, match=r"here: schema 9; this code reads \d\. Use the"):
        READERS[kind].parse('{"schema": 9, "new": 1}', "here")
