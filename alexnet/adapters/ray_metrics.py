"""Measures as Ray exports them: on every node's metrics port, with `ray_` before their names.

Ray sends them to its agent every 10 s (`RAY_metrics_report_interval_ms` of the cluster), and once
more when the driver leaves. A gauge is gone 20 s after that; a counter stays as long as the agent.
"""

from collections.abc import Iterable
from typing import Any

from ray.util.metrics import Counter, Gauge

from alexnet.measures import Measure, Sample


class RayMetrics:
    """What this driver exports, from `ray.init` on."""

    def __init__(self) -> None:
        self._made: dict[Measure, Any] = {}
        self._counted: dict[tuple[Any, ...], float] = {}

    def export(self, samples: Iterable[Sample]) -> None:
        """Set gauges, and raise counters to their values, which begin at 0 and never fall."""
        for measure, value, labels in samples:
            if measure not in self._made:
                kind = Counter if measure.kind == "counter" else Gauge
                self._made[measure] = kind(measure.name, measure.help, measure.labels)
            if measure.kind == "gauge":
                self._made[measure].set(value, dict(labels))
                continue
            key = (measure, *sorted(labels.items()))
            more = value - self._counted.get(key, 0.0)
            if more > 0:
                self._made[measure].inc(more, dict(labels))
                self._counted[key] = value
