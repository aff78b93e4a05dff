"""From a training that is complete to a version of the registered model."""

from collections.abc import Callable
from pathlib import Path

from alexnet.adapters import mlflow_registry
from alexnet.adapters.mlflow_model import Candidate
from alexnet.adapters.mlflow_registry import Registry
from alexnet.config import RunConfig
from alexnet.errors import AlexNetError, TrackingError
from alexnet.promotion import decisions
from alexnet.registry import lineage, probe
from alexnet.registry.lineage import Parent
from alexnet.runs.checkpoint import CheckpointMeta
from alexnet.telemetry import event_journal
from pipelines.steps import training_report
from pipelines.steps.run_session import Session
from pipelines.steps.stop_request import StopRequest


def run(
    current: Session, stop: StopRequest, say: Callable[[str], None]
) -> training_report.Result | None:
    """Make a model version of the best checkpoint, when MLflow has all that came before.

    Returns:
        None if a signal has ended the waiting for MLflow.

    Raises:
        AlexNetError: it cannot be made; training is complete, and the same command tries again.
    """
    inputs = current.inputs
    with current.checkpoints.best(say) as (best, folder):
        url = current.checkpoints.url(best.step)
        try:
            current.catch_up(stop.event)
            current.lease.check()
            version = mlflow_registry.register(
                inputs.config.registry.model_name,
                _candidate(current, best, folder),
                decisions.url(inputs.config),
            )
            current.finish()
        except AlexNetError as error:
            if stop.signal and isinstance(error, TrackingError):
                return None  # it has ended the waiting for MLflow
            raise type(error)(
                f"{error} Training is complete, its best checkpoint is {url}; the same command "
                "goes on from here."
            ) from error
    return training_report.Result(best, url, version)


def _candidate(current: Session, best: CheckpointMeta, folder: Path) -> Candidate:
    inputs, manifest = current.inputs, current.inputs.manifest
    return Candidate(
        folder=folder,
        config=inputs.config,
        manifest=manifest,
        images=probe.images(inputs.store, manifest),
        lineage=lineage.of_run(
            current.record,
            current.tracked.run_id,
            best,
            inputs.config,
            event_journal.read(current.store),
            lineage.digests(inputs.store, manifest),
            _parent(inputs.config),
        ),
    )


def _parent(config: RunConfig) -> Parent | None:
    """The version whose weights the training began with."""
    digest = config.train.parent
    if not digest:
        return None
    found = Registry(config.registry.model_name).with_weights(digest)
    return Parent(str(found.number) if found else "unknown", digest)
