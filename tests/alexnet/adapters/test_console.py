"""Lines for a log, a bar for a terminal."""

import io
import json

import pytest

from alexnet.adapters import console
from alexnet.adapters.console import Console, JsonLines
from alexnet.errors import ConfigError
from alexnet.telemetry.events import Event, line

STEP = Event(
    kind="progress",
    step=20,
    steps=100,
    epoch=0.5,
    metrics={
        "train/loss": 2.30259,
        "train/images_per_s": 812.4,
        "train/data_wait": 0.012,
        "train/learning_rate": 0.005,
    },
)
RESULT = Event(kind="evaluated", step=40, steps=100, epoch=1.0, metrics={"val/top1": 0.9876})


class Terminal(io.StringIO):
    def isatty(self):
        return True


NODES = Event(kind="nodes", step=40, steps=100, epoch=1.0, metrics={"system/node-0/cpu": 50.0})
FAILED = Event(kind="failed", step=0, steps=0, epoch=0.0, text="worker 1: killed")
NOTICE = Event(kind="notice", step=40, steps=100, epoch=1.0, text="the store does not answer")


def shown(stream, kind=Console):
    output = kind(stream)
    output.run = "tiny-001"
    for event in (NODES, FAILED, STEP, RESULT, NOTICE):
        output.show(event)
    output.close()
    output.say("done")
    return stream.getvalue()


def test_a_line_has_keys_and_fixed_digits():
    assert line(STEP) == (
        "step=20/100 epoch=0.50 train/loss=2.3026 train/images_per_s=812 train/data_wait=0.0120 "
        "train/learning_rate=0.005"
    )


def test_a_log_gets_plain_lines_only():
    assert shown(io.StringIO()).splitlines() == [
        line(STEP),
        line(RESULT),
        "the store does not answer",
        "done",
    ]


def test_a_terminal_gets_a_bar_and_the_results_of_epochs():
    text = shown(Terminal())
    assert "20/100" in text
    assert "loss=2.303" in text
    assert line(RESULT) in text
    assert "the store does not answer" in text
    assert line(STEP) not in text
    assert "cpu" not in text


def test_a_resumed_start_says_so():
    resumed = Event(kind="started", step=30, steps=100, epoch=0.75)
    assert line(resumed) == "step=30/100 epoch=0.75 resumed"


def test_requests_to_s3_are_not_in_a_line():
    asked = Event(
        kind="progress", step=1, steps=9, epoch=0.1, metrics={"data/s3_get_requests": 7.0}
    )
    assert line(asked) == "step=1/9 epoch=0.10"


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_as_json_each_line_is_an_object_that_names_the_run(stream):
    failed, step, result, notice, done = map(json.loads, shown(stream(), JsonLines).splitlines())
    assert {each.pop("run") for each in (failed, step, result, notice, done)} == {"tiny-001"}
    assert failed.pop("time").endswith("Z")
    assert failed == {"kind": "failed", "text": "worker 1: killed"}
    assert (step["kind"], step["step"], step["steps"], step["epoch"]) == ("progress", 20, 100, 0.5)
    assert step["metrics"] == STEP.metrics
    assert result["metrics"] == {"val/top1": 0.9876}
    assert notice["text"] == "the store does not answer"
    assert (done["kind"], done["text"]) == ("text", "done")


def test_as_json_what_is_no_number_is_still_json():
    stream = io.StringIO()
    odd = Event(kind="progress", step=1, steps=9, epoch=0.1, metrics={"train/loss": float("nan")})
    JsonLines(stream).show(odd)
    assert json.loads(stream.getvalue(), parse_constant=pytest.fail)["metrics"] == {
        "train/loss": "nan"
    }


def test_the_environment_says_which(monkeypatch, capsys):
    assert type(console.opened()) is Console
    console.complain("train", "x: no")
    monkeypatch.setenv(console.FORMAT, "json")
    assert type(console.opened()) is JsonLines
    console.complain("train", "x: no")
    plain, said = capsys.readouterr().err.splitlines()
    assert plain == json.loads(said)["text"] == "train: x: no"
    monkeypatch.setenv(console.FORMAT, "xml")
    with pytest.raises(ConfigError, match="ALEXNET_LOG = 'xml': must be plain or json"):
        console.opened()
