"""The list of Prometheus metrics: names, kinds, units and labels.

A training's measures leave through Ray, which puts `ray_` in front of each name and has them on
every node's `--metrics-export-port`. Those of the registered model are there between trainings too,
and `pipelines/exporter.py` has them. Dashboards, rules and pages take the names from here.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

RAY_PREFIX = "ray_"
"""That Ray puts in front of a training's measures."""

RUN = ("run", "model")
"""Labels of a training: the run's name in the storage, the registered model it makes."""

MODEL = ("model",)
"""Labels of a registered model."""


class Measure(NamedTuple):
    """One series of numbers, or one for each value of its labels."""

    name: str
    """Without Ray's prefix; its last word is the unit, or `total` for a counter."""
    kind: Literal["gauge", "counter"]
    help: str
    """What it counts, in one line."""
    labels: tuple[str, ...] = RUN
    source: Literal["training", "model"] = "training"
    """Whether Ray has it while a command trains, or the exporter at all times."""

    @property
    def series(self) -> str:
        """The name under which Prometheus finds it."""
        return RAY_PREFIX + self.name if self.source == "training" else self.name


def _model(
    name: str, kind: Literal["gauge", "counter"], text: str, labels: tuple[str, ...] = MODEL
) -> Measure:
    return Measure(name, kind, text, labels, "model")


STEP = Measure("alexnet_step", "gauge", "Updates completed.")
STEPS = Measure("alexnet_steps_planned", "gauge", "Updates of the whole run.")
EPOCH = Measure("alexnet_epoch", "gauge", "Passes over the training split, with the fraction.")
LOSS = Measure("alexnet_train_loss", "gauge", "Mean cross-entropy since the last progress line.")
LEARNING_RATE = Measure("alexnet_learning_rate", "gauge", "Of the last update.")
IMAGES_PER_S = Measure(
    "alexnet_images_per_second", "gauge", "Training images a second over all workers."
)
DATA_WAIT = Measure(
    "alexnet_data_wait_ratio", "gauge", "Share of the time that workers wait for data, in [0, 1]."
)
TOP1 = Measure("alexnet_validation_top1_ratio", "gauge", "Top-1 of the last validation, in [0, 1].")
TOP5 = Measure("alexnet_validation_top5_ratio", "gauge", "Top-5 of the last validation, in [0, 1].")
VALIDATION_LOSS = Measure(
    "alexnet_validation_loss", "gauge", "Mean cross-entropy of the last validation."
)
IMAGES = Measure(
    "alexnet_images_trained_total", "counter", "Training images, those done again included."
)
SKIPPED = Measure(
    "alexnet_images_skipped_total",
    "counter",
    "Images that were corrupt, so that others took their places; counted as epochs end.",
)
LAST_EVENT = Measure(
    "alexnet_last_event_timestamp_seconds",
    "gauge",
    "When the workers were last heard of, in seconds since 1970.",
)
WORKERS = Measure(
    "alexnet_workers",
    "gauge",
    "Workers that train; 0 until they start, and while they start again.",
)
RESTARTS = Measure("alexnet_restarts_total", "counter", "Times that workers started again.")
LOST_SECONDS = Measure(
    "alexnet_lost_work_seconds_total",
    "counter",
    "Training that failures have lost, and the time until it went on.",
)
STEPS_REDONE = Measure("alexnet_steps_redone_total", "counter", "Updates that were done again.")
WORKER_SECONDS = Measure(
    "alexnet_worker_seconds_total",
    "counter",
    "Time of all workers, from their start; label device says whether each holds a GPU.",
    (*RUN, "device"),
)
S3_REQUESTS = Measure(
    "alexnet_s3_requests_total",
    "counter",
    "Requests to S3 by workers and their loader processes, attempts: get, put, list, delete.",
    (*RUN, "operation"),
)
S3_BYTES = Measure(
    "alexnet_s3_bytes_total",
    "counter",
    "Bytes of objects that were read (get) and written (put).",
    (*RUN, "operation"),
)
S3_ERRORS = Measure(
    "alexnet_s3_errors_total",
    "counter",
    "Requests to S3 that broke or that it refused; most are tried again.",
    (*RUN, "operation"),
)
COST = Measure(
    "alexnet_cost_total",
    "counter",
    "Cost by the table of prices; label part: workers, requests or egress.",
    (*RUN, "currency", "part"),
)
LOST_COST = Measure(
    "alexnet_lost_work_cost_total",
    "counter",
    "Cost of the workers in the time that failures have lost; a part of the whole.",
    (*RUN, "currency"),
)
RUN_COST = Measure(
    "alexnet_run_cost",
    "gauge",
    "Cost of the run so far, with that of earlier commands.",
    (*RUN, "currency"),
)
TRACKER_UP = Measure(
    "alexnet_tracker_up", "gauge", "1 if MLflow took the last metrics, 0 if it does not answer."
)
TRACKER_BACKLOG = Measure(
    "alexnet_tracker_backlog_events", "gauge", "Events that wait to be delivered to MLflow."
)

CHAMPION = _model("alexnet_champion_version", "gauge", "Version that is champion; 0 without one.")
CHAMPION_TOP1 = _model(
    "alexnet_champion_top1_ratio", "gauge", "Top-1 of the champion at its training, in [0, 1]."
)
RETRAININGS = _model(
    "alexnet_retrainings_total",
    "counter",
    "Retrainings by outcome; those without one yet have none.",
    (*MODEL, "outcome"),
)
RETRAINING_COST = _model(
    "alexnet_retraining_cost_total", "counter", "Cost of all retrainings.", (*MODEL, "currency")
)
LOOKED = _model(
    "alexnet_last_look_timestamp_seconds",
    "gauge",
    "When pipelines/retrain.py last looked whether anything is new, in seconds since 1970.",
)
RETRAINING_BEGUN = _model(
    "alexnet_last_retraining_begun_timestamp_seconds",
    "gauge",
    "When the last retraining was begun, in seconds since 1970.",
)
RETRAINING_ENDED = _model(
    "alexnet_last_retraining_ended_timestamp_seconds",
    "gauge",
    "When the last retraining that has ended did so, in seconds since 1970.",
)
RETRAINING_AT_WORK = _model(
    "alexnet_retraining_at_work", "gauge", "1 while a process works on a retraining, else 0."
)
LAST_DECISION = _model(
    "alexnet_last_decision_timestamp_seconds",
    "gauge",
    "When the last decision about a version was made, in seconds since 1970.",
)

ALL = tuple(value for value in list(globals().values()) if isinstance(value, Measure))
"""Every measure, in the order of this page."""


class Sample(NamedTuple):
    """A value of a measure."""

    measure: Measure
    value: float
    labels: Mapping[str, str]
