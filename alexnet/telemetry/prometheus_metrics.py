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
    help: str
    """What it counts, in one line."""
    labels: tuple[str, ...] = RUN
    source: Literal["training", "model"] = "training"
    """Whether Ray has it while a command trains, or the exporter at all times."""

    @property
    def kind(self) -> Literal["gauge", "counter"]:
        """A counter's name ends in `total`, by Prometheus' rules for names."""
        return "counter" if self.name.endswith("_total") else "gauge"

    @property
    def series(self) -> str:
        """The name under which Prometheus finds it."""
        return RAY_PREFIX + self.name if self.source == "training" else self.name


def _model(name: str, text: str, labels: tuple[str, ...] = MODEL) -> Measure:
    return Measure(name, text, labels, "model")


STEP = Measure("alexnet_step", "Updates completed.")
STEPS = Measure("alexnet_steps_planned", "Updates of the whole run.")
EPOCH = Measure("alexnet_epoch", "Passes over the training split, with the fraction.")
LOSS = Measure("alexnet_train_loss", "Mean cross-entropy since the last progress line.")
LEARNING_RATE = Measure("alexnet_learning_rate", "Of the last update.")
IMAGES_PER_S = Measure("alexnet_images_per_second", "Training images a second over all workers.")
DATA_WAIT = Measure(
    "alexnet_data_wait_ratio", "Share of the time that workers wait for data, in [0, 1]."
)
TOP1 = Measure("alexnet_validation_top1_ratio", "Top-1 of the last validation, in [0, 1].")
TOP5 = Measure("alexnet_validation_top5_ratio", "Top-5 of the last validation, in [0, 1].")
VALIDATION_LOSS = Measure("alexnet_validation_loss", "Mean cross-entropy of the last validation.")
IMAGES = Measure("alexnet_images_trained_total", "Training images, those done again included.")
SKIPPED = Measure(
    "alexnet_images_skipped_total",
    "Images that were corrupt, so that others took their places; counted as epochs end.",
)
LAST_EVENT = Measure(
    "alexnet_last_event_timestamp_seconds",
    "When the workers were last heard of, in seconds since 1970.",
)
WORKERS = Measure(
    "alexnet_workers", "Workers that train; 0 until they start, and while they start again."
)
RESTARTS = Measure("alexnet_restarts_total", "Times that workers started again.")
LOST_SECONDS = Measure(
    "alexnet_lost_work_seconds_total",
    "Training that failures have lost, and the time until it went on.",
)
STEPS_REDONE = Measure("alexnet_steps_redone_total", "Updates that were done again.")
WORKER_SECONDS = Measure(
    "alexnet_worker_seconds_total",
    "Time of all workers, from their start; label device says whether each holds a GPU.",
    (*RUN, "device"),
)
S3_REQUESTS = Measure(
    "alexnet_s3_requests_total",
    "Requests to S3 by workers and their loader processes, attempts: get, put, list, delete.",
    (*RUN, "operation"),
)
S3_BYTES = Measure(
    "alexnet_s3_bytes_total",
    "Bytes of objects that were read (get) and written (put).",
    (*RUN, "operation"),
)
S3_ERRORS = Measure(
    "alexnet_s3_errors_total",
    "Requests to S3 that broke or that it refused; most are tried again.",
    (*RUN, "operation"),
)
COST = Measure(
    "alexnet_cost_total",
    "Cost by the table of prices; label part: workers, requests or egress.",
    (*RUN, "currency", "part"),
)
LOST_COST = Measure(
    "alexnet_lost_work_cost_total",
    "Cost of the workers in the time that failures have lost; a part of the whole.",
    (*RUN, "currency"),
)
RUN_COST = Measure(
    "alexnet_run_cost", "Cost of the run so far, with that of earlier commands.", (*RUN, "currency")
)
TRACKER_UP = Measure(
    "alexnet_tracker_up", "1 if MLflow took the last metrics, 0 if it does not answer."
)
TRACKER_BACKLOG = Measure(
    "alexnet_tracker_backlog_events", "Events that wait to be delivered to MLflow."
)

CHAMPION = _model("alexnet_champion_version", "Version that is champion; 0 without one.")
CHAMPION_TOP1 = _model(
    "alexnet_champion_top1_ratio", "Top-1 of the champion at its training, in [0, 1]."
)
RETRAININGS = _model(
    "alexnet_retrainings_total",
    "Retrainings by outcome; those without one yet have none.",
    (*MODEL, "outcome"),
)
RETRAINING_COST = _model(
    "alexnet_retraining_cost_total", "Cost of all retrainings.", (*MODEL, "currency")
)
LOOKED = _model(
    "alexnet_last_look_timestamp_seconds",
    "When pipelines/retrain.py last looked whether anything is new, in seconds since 1970.",
)
RETRAINING_BEGUN = _model(
    "alexnet_last_retraining_begun_timestamp_seconds",
    "When the last retraining was begun, in seconds since 1970.",
)
RETRAINING_ENDED = _model(
    "alexnet_last_retraining_ended_timestamp_seconds",
    "When the last retraining that has ended did so, in seconds since 1970.",
)
RETRAINING_AT_WORK = _model(
    "alexnet_retraining_at_work", "1 while a process works on a retraining, else 0."
)
LAST_DECISION = _model(
    "alexnet_last_decision_timestamp_seconds",
    "When the last decision about a version was made, in seconds since 1970.",
)

ALL = tuple(value for value in list(globals().values()) if isinstance(value, Measure))
"""Every measure, in the order of this page."""


class Sample(NamedTuple):
    """A value of a measure."""

    measure: Measure
    value: float
    labels: Mapping[str, str]
