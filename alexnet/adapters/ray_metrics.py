"""Exports metrics through Ray: on every node's metrics port, with the prefix `ray_`.

Ray sends what was set to its agent every 10 s (`RAY_metrics_report_interval_ms` of the cluster),
and once more when the driver leaves. A gauge is gone 20 s after it was last set, however alive its
driver is, so all are set again and again; a counter stays as long as the agent.
"""

import threading
import time
import weakref
from collections.abc import Iterable
from typing import Any

import ray
from ray.util.metrics import Counter, Gauge

from alexnet.telemetry.prometheus_metrics import Measure, Sample

REPEAT_S = 5.0
"""At least twice in what Ray takes for one interval."""


class RayMetrics:
    """What this driver exports, from `ray.init` on and as long as somebody holds this."""

    def __init__(self) -> None:
        self._made: dict[Measure, Any] = {}
        self._counted: dict[tuple[Any, ...], float] = {}
        self._gauges: dict[tuple[Any, ...], Sample] = {}
        self._lock = threading.Lock()
        """Without it, a gauge could be set again to an older value."""
        threading.Thread(target=_keep, args=(weakref.ref(self),), daemon=True).start()

    def export(self, samples: Iterable[Sample]) -> None:
        """Set gauges, and raise counters to their values, which begin at 0 and never fall."""
        for sample in samples:
            with self._lock:
                self._export(sample)

    def _export(self, sample: Sample) -> None:
        measure, value, labels = sample
        key = (measure, *sorted(labels.items()))
        if measure not in self._made:
            kind = Counter if measure.kind == "counter" else Gauge
            self._made[measure] = kind(measure.name, measure.help, measure.labels)
        if measure.kind == "gauge":
            self._gauges[key] = sample
            self._made[measure].set(value, dict(labels))
            return
        more = value - self._counted.get(key, 0.0)
        if more > 0:
            self._made[measure].inc(more, dict(labels))
            self._counted[key] = value

    def repeat(self) -> None:
        """Set the gauges again."""
        with self._lock:
            for measure, value, labels in self._gauges.values():
                self._made[measure].set(value, dict(labels))


def _keep(reference: weakref.ref[RayMetrics]) -> None:
    """Repeat until the driver has left, or nobody holds the metrics any more."""
    while True:
        time.sleep(REPEAT_S)
        metrics = reference()
        if metrics is None or not ray.is_initialized():
            return
        metrics.repeat()
        del metrics  # else it would be held while this sleeps
