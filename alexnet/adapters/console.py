"""What a command prints: a progress bar on a terminal, plain lines elsewhere, or JSON lines."""

import json
import math
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any, TextIO

from tqdm import tqdm

from alexnet.errors import ConfigError
from alexnet.telemetry.events import Event, line

ON_BAR = ("train/loss", "train/images_per_s", "train/data_wait")
"""What the bar shows; the rest is in MLflow."""

FORMAT = "ALEXNET_LOG"
"""Variable that says how: `plain`, or `json` for one object a line."""


class Console:
    """Shows a run's events as they come."""

    run = ""
    """Name of the run, once it is known."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._bar: Any = None

    def say(self, text: str) -> None:
        """One line, above the bar where there is one."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def show(self, event: Event) -> None:
        """Show an event: the bar takes the steps, every epoch's result stays on its own line."""
        if event.kind in ("nodes", "ended", "failed"):
            return  # two are in MLflow; of a failure, what it has cost is said when it is known
        if not self._terminal or event.kind in ("evaluated", "notice"):
            self.say(line(event))
        if event.kind == "notice":
            return
        if self._terminal:
            self._advance(event)

    def close(self) -> None:
        """Leave the terminal as a line of text expects it."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _advance(self, event: Event) -> None:
        if self._bar is None:
            self._bar = tqdm(
                total=event.steps, unit="step", file=self._stream, dynamic_ncols=True, leave=False
            )
        shown = {
            name.removeprefix("train/"): f"{value:.4g}"
            for name, value in event.metrics.items()
            if name in ON_BAR
        }
        self._bar.n = event.step
        if shown:
            self._bar.set_postfix(shown, refresh=False)
        self._bar.refresh()


class JsonLines(Console):
    """The same as objects, one a line, for programs that collect logs."""

    def say(self, text: str) -> None:
        """What a person would read, as it is."""
        print(_object("text", self.run, text=text), file=self._stream, flush=True)

    def show(self, event: Event) -> None:
        """Each event but how busy the nodes are, which comes every few seconds."""
        if event.kind == "nodes":
            return
        place = {"step": event.step, "steps": event.steps, "epoch": round(event.epoch, 4)}
        fields = {
            **(place if event.steps else {}),
            "metrics": {key: _finite(value) for key, value in event.metrics.items()},
            "text": event.text,
        }
        print(_object(event.kind, self.run, event.time_ms, **fields), file=self._stream, flush=True)


def opened() -> Console:
    """The console that the environment asks for.

    Raises:
        ConfigError: it asks for something else.
    """
    wanted = os.environ.get(FORMAT, "plain")
    if wanted not in ("plain", "json"):
        raise ConfigError(f"{FORMAT} = {wanted!r}: must be plain or json")
    return JsonLines() if wanted == "json" else Console()


def complain(command: str, text: str) -> None:
    """Say on standard error why a command ends."""
    line = f"{command}: {text}"
    if os.environ.get(FORMAT) == "json":
        line = _object("error", text=line)
    sys.stderr.write(f"{line}\n")


def _object(kind: str, run: str = "", time_ms: int | None = None, **fields: Any) -> str:
    """One line; what is empty is left out."""
    now_s = time.time() if time_ms is None else time_ms / 1000
    when = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds")
    known = {"run": run, "kind": kind, **fields}
    filled = {key: value for key, value in known.items() if value not in ("", {})}
    return json.dumps({"time": when.replace("+00:00", "Z"), **filled}, ensure_ascii=False)


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)  # JSON has no word for the others
