"""What a person sees: a progress bar on a terminal, plain lines everywhere else."""

import sys
from typing import Any, TextIO

from tqdm import tqdm

from alexnet.progress import Event, line

ON_BAR = ("train/loss", "train/images_per_s", "train/data_wait")
"""What the bar shows; the rest is in MLflow."""


class Console:
    """Shows a run's events as they come."""

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
