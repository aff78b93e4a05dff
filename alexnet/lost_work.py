"""What failures cost, reckoned from a run's events."""

import time
from dataclasses import dataclass

from alexnet.lease import Holder
from alexnet.progress import Event
from alexnet.run_record import LostWork

RESIZED = "workers were added or taken away"


@dataclass
class LostWorkAccount:
    """Follows the events of a run over its restarts."""

    reached: int = 0
    """Step that training is known to have reached."""
    began_ms: int | None = None
    """First start, where this process has seen it."""
    pause_ms: int = 0
    """Between the end of the process that ran it before and the start of this one."""
    reason: str = ""
    """Of the next restart, where it is known."""

    @classmethod
    def after(cls, holder: Holder | None) -> "LostWorkAccount":
        """Of a run whose last process was killed, if there was one that held its lease."""
        if holder is None:
            return cls()
        pause_ms = max(0, time.time_ns() // 10**6 - holder.renewed_ms)
        return cls(holder.step, pause_ms=pause_ms, reason="the command was killed")

    def see(self, event: Event) -> LostWork | None:
        """Take an event into account; what a failure has cost, if this is the start after one."""
        lost = None
        if event.kind == "started":
            if self.began_ms is not None or self.reason:
                lost = self._lost(event)
            self.began_ms = self.began_ms or event.time_ms
            self.reason, self.pause_ms = "", 0
            self.reached = event.step  # from here on it is done again
        self.reached = max(self.reached, event.step)
        return lost

    def _lost(self, event: Event) -> LostWork:
        since_ms = event.resumed_from_ms or self.began_ms or event.time_ms
        seconds = max(0, event.time_ms - since_ms - self.pause_ms) / 1000
        redone = max(0, self.reached - event.step)
        return LostWork(self.reason or RESIZED, event.step, redone, seconds)
