"""Runs a training on Ray Train: starts the workers, restarts them after failures, stops them."""

import math
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray._private.state import state as ray_state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]
from ray.train import FailureConfig, ScalingConfig, UserCallback
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alexnet import background
from alexnet.adapters import ray_events
from alexnet.adapters.ray_cluster import Resources
from alexnet.adapters.ray_mailbox import Mailbox
from alexnet.adapters.ray_worker import WorkerInputs, train_on_worker
from alexnet.config import RunConfig
from alexnet.dataset.manifest import Manifest
from alexnet.errors import AlexNetError, ClusterError, StoreUnavailableError
from alexnet.runs.checkpoint_store import Checkpoints
from alexnet.storage.store import ReadableStore
from alexnet.telemetry.events import Event
from alexnet.training.coordination import End

POLL_S = 0.25
"""How often it is looked whether training is to stop."""

SWEEP_S = 5.0
"""How often room that dead controllers left claimed is freed: these workers may wait for it."""


def train(
    config: RunConfig,
    manifest: Manifest,
    store: ReadableStore,
    *,
    checkpoints: Checkpoints,
    resources: Resources,
    watchers: tuple[Callable[[Event], None], ...],
    stop: threading.Event,
) -> End:
    """Train on the cluster until the end, or until `stop` is set.

    A group of workers that fails starts again from the last checkpoint. So it does when Ray's
    controller dies, and when a node is taken away that had said so, for which the group ends
    itself first.

    Args:
        config: the run.
        manifest: of the data set in `store`.
        store: reachable from every node.
        checkpoints: in the run's folder, reachable from every node.
        resources: from `ray_cluster.claim`.
        watchers: called in a thread of this process with events, in order: those of rank 0, and
            `failed` ones when workers are to start again.
        stop: set by whoever wants the training to end at the next step, with a checkpoint.

    Returns:
        "done", or "stopped" if `stop` was set before the end.

    Raises:
        AlexNetError: what a worker raised, if the user can mend it.
        ClusterError: workers failed more often than `cluster.max_failures`.
    """
    mailbox = Mailbox.options(  # type: ignore[attr-defined]
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=-1,
        scheduling_strategy=NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        ),
    ).remote()
    inputs = WorkerInputs(config, manifest, store, checkpoints, mailbox)
    controllers_lost = 0
    with ray_events.delivered(mailbox, watchers, resources):
        while True:
            try:
                end = _fit(inputs, resources, stop)
            except ray.exceptions.RayActorError as error:
                controllers_lost += 1
                if controllers_lost > config.cluster.max_failures:
                    raise ClusterError(
                        f"Ray Train's controller died {controllers_lost} times. The logs are in "
                        "Ray's session folder (`ray logs`, or the dashboard)."
                    ) from error
                mailbox.put.remote(failed("Ray Train's controller died"))
                continue
            if end == "preempted" and not stop.is_set():
                mailbox.put.remote(failed("a node is taken away"))
                continue
            return "stopped" if end == "preempted" else end


def _free_placement_groups() -> None:
    """Free what this job's workers had claimed whose controller is dead: it would have done that.

    Ray has an actor for it, which asks the dashboard whether the controller lives. Where there is
    no dashboard, or two clusters on a machine, it never learns of the death. Ray's table of
    placement groups knows of it, but not in its public form.
    """
    job = ray.get_runtime_context().get_job_id()
    table = ray_state._connect_and_get_accessor().get_placement_group_table()
    for group in map(PlacementGroupTableData.FromString, table):
        ours = ray.JobID(group.creator_job_id).hex() == job
        # What a driver itself has claimed has no actor; Ray's table calls that one dead, too.
        dead = group.creator_actor_dead and not ray.ActorID(group.creator_actor_id).is_nil()
        if ours and dead and group.state != PlacementGroupTableData.REMOVED:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))


def failed(reason: str) -> Event:
    """The event that workers are to start again."""
    return Event(kind="failed", step=0, steps=0, epoch=0.0, text=reason)


def _fit(inputs: WorkerInputs, resources: Resources, stop: threading.Event) -> End:
    """One life of Ray Train's controller."""
    settings, mailbox = inputs.config.cluster, inputs.mailbox
    folder = tempfile.mkdtemp(prefix="alexnet-ray-")
    result = background.begin("fit", _trainer(inputs, resources, folder).fit)
    deadline, swept = None, -math.inf
    try:
        while not result.done():
            wait([result], timeout=POLL_S)
            if time.monotonic() > swept + SWEEP_S:
                swept = time.monotonic()
                _free_placement_groups()
            if stop.is_set() and deadline is None:
                mailbox.stop.remote()
                deadline = time.monotonic() + settings.stop_timeout_s
            if deadline and time.monotonic() > deadline:
                return "stopped"  # leaving the cluster ends the workers
        return _end(result)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end(result: "Future[Any]") -> End:
    try:
        end: End = result.result().return_value
    except ray.train.TrainingFailedError as error:
        cause = _user_error(error)
        if cause:
            raise cause from error
        reason = str(error).strip().splitlines()[-1]
        raise ClusterError(
            f"training failed: {reason} The workers' logs are in Ray's session folder "
            "(`ray logs`, or the dashboard). The same command goes on from the last checkpoint."
        ) from error
    return end


def _trainer(inputs: WorkerInputs, resources: Resources, folder: str) -> Any:
    settings = inputs.config.cluster
    low, high = resources.min_workers, resources.max_workers
    return ray.train.torch.TorchTrainer(
        train_on_worker,  # type: ignore[arg-type]
        train_loop_config={"inputs": inputs},
        torch_config=ray.train.torch.TorchConfig(timeout_s=int(settings.hang_timeout_s)),
        # Type checkers see the configuration that this one has replaced.
        scaling_config=ScalingConfig(  # type: ignore[call-arg]
            num_workers=low if low == high else (low, high),  # type: ignore[arg-type]
            use_gpu=resources.use_gpu,
            resources_per_worker={
                "CPU": settings.cpus_per_worker,
                **({"GPU": 1} if resources.use_gpu else {}),
            },
            elastic_resize_monitor_interval_s=settings.resize_every_s,
        ),
        run_config=ray.train.RunConfig(
            # Ray's own record of the run; ours, with the checkpoints, is elsewhere.
            name="train",
            storage_path=folder,
            failure_config=FailureConfig(max_failures=settings.max_failures),
            callbacks=[_Failures(inputs.mailbox)],  # type: ignore[list-item]
        ),
    )


def _user_error(error: BaseException) -> AlexNetError | None:
    """The error a user can mend inside Ray's wrappings, if there is one."""
    return next((item for item in _unwrapped(error) if isinstance(item, AlexNetError)), None)


def _unwrapped(error: BaseException) -> Iterator[BaseException]:
    """The error and all that Ray has wrapped in it, outermost first."""
    seen: list[Any] = [error]
    for item in seen:  # grows while it is walked
        yield item
        wrapped = [getattr(item, name, None) for name in _WRAPPINGS]
        seen += [inner for inner in wrapped if isinstance(inner, BaseException)]
        seen += list((getattr(item, "worker_failures", None) or {}).values())


_WRAPPINGS = ("controller_failure", "_base_exc", "cause", "__cause__")


@dataclass
class _Failures(UserCallback):
    """Tells of failures, and ends the run at once on what no restart mends: wrong or missing data.

    Ray would restart the workers `max_failures` times into the same error. An exception out of
    this callback ends the run. A store that does not answer is left to the restarts.
    """

    mailbox: Any

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Any]) -> None:
        del run_context
        for failure in worker_exceptions.values():
            cause = _user_error(failure)
            if cause and not isinstance(cause, StoreUnavailableError):
                raise cause
        # Where one is gone, the others fail too, and earlier: theirs is not the reason.
        reasons = {rank: _reason(failure) for rank, failure in sorted(worker_exceptions.items())}
        own = {rank: reason for rank, reason in reasons.items() if reason != ECHO}
        rank, reason = next(iter((own or reasons).items()))
        self.mailbox.put.remote(failed(f"worker {rank}: {reason}"))


ECHO = "lost the connection to another worker"


def _reason(failure: BaseException) -> str:
    """Why a worker failed, in one short line."""
    cause = _user_error(failure)
    *_, innermost = _unwrapped(failure)
    if any(isinstance(error, ray.exceptions.RayActorError) for error in _unwrapped(failure)):
        return "its process or its node died"
    text = str(cause or innermost).strip()
    if any(word in text for word in ("gloo", "NCCL", "Connection closed by peer")):
        return ECHO
    return next(iter(text.splitlines()), repr(innermost))[:200]
