"""A request to stop training: set by a signal, or when another process takes the run over."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Set once, and polled by the thread that trains."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.event = threading.Event()
        self.signal = 0
        """Its number; 0 while there was none."""
        self.why = ""
        """The signal's name, or what else asked for it."""
        self._say = say

    def ask(self, why: str) -> None:
        """Request it for a reason that is no signal."""
        self.why = self.why or why
        self.event.set()
        self._say(f"{why}: a checkpoint now, and then the end.")

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as requests; the second one ends the process at once."""
        before = {each: signal.signal(each, self._hear) for each in _SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.signal:
            raise KeyboardInterrupt
        self.signal, self.why = number, signal.Signals(number).name
        self.event.set()
        self._say(f"{self.why}: a checkpoint now, and then the end. Once more ends at once.")
