"""Lines for a log, a bar for a terminal."""

import io

from alexnet.adapters.console import Console
from alexnet.progress import Event, line

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


def shown(stream):
    console = Console(stream)
    for event in (NODES, FAILED):
        console.show(event)
    console.show(STEP)
    console.show(RESULT)
    console.show(NOTICE)
    console.close()
    console.say("done")
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
