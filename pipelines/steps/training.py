"""A training: workers from start to end, then the best checkpoint as a model version."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from alexnet.adapters import mlflow_registry, ray_cluster, ray_runner
from alexnet.adapters.console import Console
from alexnet.adapters.mlflow_model import Candidate
from alexnet.adapters.mlflow_registry import Registry
from alexnet.config import RunConfig
from alexnet.errors import AlexNetError, TrackingError
from alexnet.promotion import decisions
from alexnet.registry import lineage, probe
from alexnet.registry.lineage import Parent
from alexnet.runs.checkpoint import CheckpointMeta
from alexnet.telemetry import event_journal
from alexnet.telemetry.events import Event
from alexnet.training.coordination import End
from pipelines.steps import preflight, run_session, training_report
from pipelines.steps.run_inputs import Inputs
from pipelines.steps.run_session import Session
from pipelines.steps.stop_request import StopRequest
from pipelines.steps.training_metrics import Metering

Watch = Callable[[Event, float], None]
"""Takes an event of a training, and what the run has cost by then."""


def run(
    inputs: Inputs, stop: StopRequest, console: Console, listeners: Sequence[Watch] = ()
) -> training_report.Result | None:
    """Train, register, and say what came of it.

    Returns:
        None if it was ended before its end.

    Raises:
        AlexNetError: something that the user can fix; the same command continues.
    """
    begun = time.monotonic()
    with ray_cluster.connected():
        resources = ray_cluster.claim(inputs.config.cluster)
        preflight.quick(inputs.config, inputs.manifest, resources, console.say)
        opened = run_session.opened_session(inputs, stop.event.set, console.say)
        with stop.on_signals(), opened as current:
            console.run = inputs.record.name
            console.say(training_report.opening(inputs, resources))
            try:
                result = _train(current, resources, stop, console, listeners)
            finally:
                console.close()
                ray_cluster.disconnect()  # no worker is left when another may take the run
            if not result:
                current.stop("KILLED")
                console.say(training_report.stopped(current, stop.why))
                return None
    console.say(training_report.closing(result, time.monotonic() - begun, current))
    return result


def _train(
    current: Session,
    resources: ray_cluster.Resources,
    stop: StopRequest,
    console: Console,
    listeners: Sequence[Watch],
) -> training_report.Result | None:
    """Train to the end and register what came of it; None if somebody wanted it to stop."""

    def watch_all(event: Event) -> None:
        for watch in listeners:
            watch(event, current.spending.cost.total)

    with listening(current, resources, console, watch_all) as listen:
        end = fit(current, resources, stop, listen)
        return register(current, stop, console.say) if end == "done" else None


@contextmanager
def listening(
    current: Session,
    resources: ray_cluster.Resources,
    console: Console,
    watch: Callable[[Event], None],
) -> Iterator[Callable[[Event], None]]:
    """The listener of a training's events, which calls all that want them in the order they need.

    Metrics are made of what the session has made of an event, so the session comes first; `watch`,
    the caller's own, comes last.
    """
    metrics = Metering(current, resources)

    def listen(event: Event) -> None:
        console.show(event)
        current.watch(event)
        metrics.watch(event)
        watch(event)

    try:
        yield listen
    finally:
        metrics.look_again()


def fit(
    current: Session,
    resources: ray_cluster.Resources,
    stop: StopRequest,
    listen: Callable[[Event], None],
) -> End:
    """Train until the end, or until `stop` ends it with a checkpoint; events go to `listen`."""
    end = ray_runner.train(
        current.inputs.config,
        current.inputs.manifest,
        current.inputs.store,
        checkpoints=current.checkpoints,
        resources=resources,
        listeners=(listen,),
        stop=stop.event,
    )
    current.lease.check()
    return end


def register(
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
