"""Steps and seconds lost to failures, computed from a run's events."""

from dataclasses import dataclass

from alexnet import clock
from alexnet.runs.run_record import LostWork, RunRecord
from alexnet.storage.lease import Holder
from alexnet.telemetry.events import Event

RESIZED = "workers were added or taken away"

CUT_SHORT = "stopped before its last steps were in a checkpoint"


@dataclass
class LostWorkAccount:
    """Follows the events of a run over its restarts."""

    reached: int = 0
    """Step that training is known to have reached."""
    started_ms: int | None = None
    """Last start that this process has seen."""
    pause_ms: int = 0
    """Between the end of the process that ran it before and the start of this one."""
    reason: str = ""
    """Of the next restart, where it is known."""

    @classmethod
    def going_on(cls, record: RunRecord, killed: Holder | None) -> "LostWorkAccount":
        """Of a run as it is found; `killed` worked on it and could not write how it ended."""
        if killed:
            return cls.after(killed.step, killed.renewed_ms, "the command was killed")
        if record.ended_ms is None:
            return cls()
        return cls.after(record.reached, record.ended_ms, record.ended_why)

    @classmethod
    def after(cls, reached: int, ended_ms: int, reason: str) -> "LostWorkAccount":
        """Of a run that another process has worked on.

        It ended at `ended_ms`, in milliseconds since 1970; an empty `reason`: it was stopped.
        """
        return cls(reached, pause_ms=max(0, clock.now_ms() - ended_ms), reason=reason)

    def see(self, event: Event) -> LostWork | None:
        """Take an event into account; what a failure has cost, if this is the start after one."""
        lost = None
        if event.kind == "failed":
            self.reason = event.text
            return None
        if event.kind == "started":
            if self.started_ms is not None or self.reason or self.reached > event.step:
                lost = self._lost(event)
            self.started_ms = event.time_ms
            self.reason, self.pause_ms = "", 0
            self.reached = event.step  # from here on it is done again
        self.reached = max(self.reached, event.step)
        return lost

    def _lost(self, event: Event) -> LostWork:
        # What was lost before the last start is in an entry of its own.
        since_ms = max(event.resumed_from_ms or 0, self.started_ms or 0) or event.time_ms
        seconds = max(0, event.time_ms - since_ms - self.pause_ms) / 1000
        unnamed = CUT_SHORT if self.started_ms is None else RESIZED
        redone = max(0, self.reached - event.step)
        return LostWork(self.reason or unnamed, event.step, redone, seconds)
