"""Turns a training's events into Prometheus metrics, exported by Ray in the driver."""

from collections.abc import Iterator, Mapping

from alexnet.adapters.ray_cluster import Resources
from alexnet.adapters.ray_metrics import RayMetrics
from alexnet.telemetry import cost, prometheus_metrics, s3_usage
from alexnet.telemetry.events import Event
from alexnet.telemetry.prometheus_metrics import Measure, Sample
from pipelines.steps.run_session import Session

GAUGES = {
    "train/loss": prometheus_metrics.LOSS,
    "train/learning_rate": prometheus_metrics.LEARNING_RATE,
    "train/images_per_s": prometheus_metrics.IMAGES_PER_S,
    "train/data_wait": prometheus_metrics.DATA_WAIT,
    "val/loss": prometheus_metrics.VALIDATION_LOSS,
    "val/top1": prometheus_metrics.TOP1,
    "val/top5": prometheus_metrics.TOP5,
}
"""By their names among an event's metrics."""

S3 = {
    "requests": prometheus_metrics.S3_REQUESTS,
    "bytes": prometheus_metrics.S3_BYTES,
    "errors": prometheus_metrics.S3_ERRORS,
}


class Metering:
    """Exports what a session's events say."""

    def __init__(self, current: Session, resources: Resources) -> None:
        self._meter = Meter(current, "gpu" if resources.use_gpu else "cpu")
        self._ray = RayMetrics()
        self.look_again()  # without workers yet, which may be long in coming

    def watch(self, event: Event) -> None:
        """Take an event, which the session has seen."""
        self._ray.export(self._meter.samples(event))

    def look_again(self) -> None:
        """Export what has changed since the last event: whether MLflow has caught up."""
        self.watch(Event(kind="notice", step=0, steps=0, epoch=0.0))


class Meter:
    """Counts what has happened since it was made."""

    def __init__(self, current: Session, device: str) -> None:
        self._current, self._device = current, device
        self._batch = current.inputs.config.train.global_batch_size
        self._workers, self._step, self._images, self._skipped = 0, 0, 0, 0
        self._used, self._lost = current.spending.used, len(current.record.lost)
        self._asked = dict(current.spending.asked.counts)

    def samples(self, event: Event) -> Iterator[Sample]:
        """The measures after an event."""
        labels = {
            "run": self._current.record.name,
            "model": self._current.inputs.config.registry.model_name,
        }
        for measure, value, more in [*self._now(event), *self._counts(event), *self._costs()]:
            yield Sample(measure, float(value), {**labels, **more})

    def _now(self, event: Event) -> Iterator[Sample]:
        if event.steps:  # of the workers; the driver's own have none
            yield _sample(prometheus_metrics.STEP, event.step)
            yield _sample(prometheus_metrics.STEPS, event.steps)
            yield _sample(prometheus_metrics.EPOCH, event.epoch)
            yield _sample(prometheus_metrics.LAST_EVENT, event.time_ms / 1000)
        if event.kind in ("started", "failed", "ended"):
            self._workers = event.workers
        yield _sample(prometheus_metrics.WORKERS, self._workers)
        for name, measure in GAUGES.items():
            if name in event.metrics:
                yield _sample(measure, event.metrics[name])
        yield _sample(prometheus_metrics.TRACKER_UP, not self._current.tracked.is_away)
        yield _sample(prometheus_metrics.TRACKER_BACKLOG, self._current.tracked.backlog)

    def _counts(self, event: Event) -> Iterator[Sample]:
        if event.kind == "started":
            self._step = event.step
        if event.step > self._step:
            self._images += (event.step - self._step) * self._batch
            self._step = event.step
        self._skipped += len(event.ledger.skipped) if event.ledger else 0
        lost = self._current.record.lost[self._lost :]
        yield _sample(prometheus_metrics.IMAGES, self._images)
        yield _sample(prometheus_metrics.SKIPPED, self._skipped)
        yield _sample(prometheus_metrics.RESTARTS, len(lost))
        yield _sample(prometheus_metrics.LOST_SECONDS, sum(each.seconds for each in lost))
        yield _sample(prometheus_metrics.STEPS_REDONE, sum(each.steps_redone for each in lost))
        for kind in s3_usage.KINDS:
            for what, measure in S3.items():
                name = f"{kind}_{what}"
                count = self._current.spending.asked.counts[name] - self._asked[name]
                yield _sample(measure, count, {"operation": kind})

    def _costs(self) -> Iterator[Sample]:
        spending = self._current.spending
        used = spending.used.since(self._used)
        yield _sample(prometheus_metrics.WORKER_SECONDS, used.worker_s, {"device": self._device})
        if not spending.currency:
            return
        currency = {"currency": spending.currency}
        for part, amount in cost.of(used, spending.prices)._asdict().items():
            yield _sample(prometheus_metrics.COST, amount, {**currency, "part": part})
        yield _sample(prometheus_metrics.LOST_COST, spending.lost, currency)
        yield _sample(prometheus_metrics.RUN_COST, spending.cost.total, currency)


def _sample(measure: Measure, value: float, labels: Mapping[str, str] | None = None) -> Sample:
    return Sample(measure, value, labels or {})
