"""What a training has taken so far, and whether that is enough."""

from alexnet.config import RetrainConfig
from alexnet.progress import Event

MS_AN_HOUR = 3_600_000


class Limits:
    """Follows the events of a training over its restarts."""

    def __init__(self, settings: RetrainConfig, begun_ms: int) -> None:
        """`begun_ms`: when the retraining was begun, in milliseconds since 1970."""
        self._settings, self._begun_ms = settings, begun_ms
        self.worker_hours = 0.0
        self._workers, self._since_ms = 0, begun_ms

    @property
    def cost(self) -> float:
        """Of the workers, so far."""
        return self.worker_hours * self._settings.worker_hour_price

    def exceeded(self, event: Event) -> str:
        """Take an event into account; the limit that it goes beyond, or nothing."""
        self._add(event)
        hours, settings = (event.time_ms - self._begun_ms) / MS_AN_HOUR, self._settings
        if settings.max_hours and hours > settings.max_hours:
            return f"retrain.max_hours = {settings.max_hours:g} is reached"
        if settings.max_cost and self.cost > settings.max_cost:
            return f"retrain.max_cost = {settings.max_cost:g} is reached"
        return ""

    def _add(self, event: Event) -> None:
        """Workers cost from their start to the last that was heard of them."""
        if event.kind == "started":
            self._workers, self._since_ms = event.workers, event.time_ms
        passed_ms = max(0, event.time_ms - self._since_ms)
        self.worker_hours += self._workers * passed_ms / MS_AN_HOUR
        self._since_ms = max(self._since_ms, event.time_ms)
