"""The limits of a retraining in hours and cost, and which one is exceeded."""

from alexnet.config import RetrainConfig
from alexnet.telemetry.events import Event

MS_AN_HOUR = 3_600_000


class Limits:
    """Holds a training against its limits, over its restarts."""

    def __init__(self, settings: RetrainConfig, begun_ms: int) -> None:
        """`begun_ms`: when the retraining was started, in milliseconds since 1970."""
        self._settings, self._begun_ms = settings, begun_ms

    def exceeded(self, event: Event, cost: float) -> str:
        """The limit that the training goes beyond, or nothing."""
        hours, settings = (event.time_ms - self._begun_ms) / MS_AN_HOUR, self._settings
        if settings.max_hours and hours > settings.max_hours:
            return f"retrain.max_hours = {settings.max_hours:g} is reached"
        if settings.max_cost and cost > settings.max_cost:
            return f"retrain.max_cost = {settings.max_cost:g} is reached"
        return ""
