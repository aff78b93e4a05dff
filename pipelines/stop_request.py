"""The wish that a training should end, from a signal or from whoever has taken its run over."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Set once, and looked at by the thread that trains."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.event = threading.Event()
        self.signal = 0
        """Its number; 0 while there was none."""
        self.lost_lease = ""
        """Why, if another process has taken the run over."""
        self._say = say

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as the wish; the second one ends the process at once."""
        before = {each: signal.signal(each, self._hear) for each in _SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def lose_lease(self, why: str) -> None:
        """End, because another process works on the run."""
        self.lost_lease = why
        self.event.set()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        self.event.set()
        name = signal.Signals(number).name
        self._say(f"{name}: a checkpoint now, and then the end. Once more ends at once.")
