"""Runs a training on Ray Train: starts the workers, restarts them after failures, stops them."""

import functools
import math
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

import ray
import ray.train
from ray._private.state import state as ray_state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]
from ray.train import FailureConfig, ScalingConfig
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alexnet import background
from alexnet.adapters import ray_events
from alexnet.adapters.ray_cluster import Resources
from alexnet.adapters.ray_controller import Failures, ProcessGroup, failed, user_error
from alexnet.adapters.ray_mailbox import Mailbox
from alexnet.adapters.ray_worker import WorkerInputs, train_on_worker
from alexnet.config import RunConfig
from alexnet.dataset.manifest import Manifest
from alexnet.errors import ClusterError
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
    listeners: tuple[Callable[[Event], None], ...],
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
        listeners: called in a thread of this process with events, in order: those of rank 0, and
            `failed` ones when workers are to start again.
        stop: set to end the training at the next step, with a checkpoint.

    Returns:
        "done", or "stopped" if `stop` was set before the end.

    Raises:
        AlexNetError: what a worker raised, if the user can fix it.
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
    with ray_events.delivered(mailbox, listeners, resources):
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
        cause = user_error(error)
        if cause:
            raise cause from error
        reason = str(error).strip().splitlines()[-1]
        raise ClusterError(
            f"training failed: {reason} The workers' logs are in Ray's session folder "
            "(`ray logs`, or the dashboard). The same command goes on from the last checkpoint."
        ) from error
    return end


def _trainer(inputs: WorkerInputs, resources: Resources, folder: str) -> "_Trainer":
    settings = inputs.config.cluster
    low, high = resources.min_workers, resources.max_workers
    return _Trainer(
        # Not as `train_loop_config`, which the controller gets too and would import torch for.
        functools.partial(train_on_worker, inputs),
        backend_config=ProcessGroup(
            "nccl" if resources.use_gpu else "gloo", settings.hang_timeout_s
        ),
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
            callbacks=[Failures(inputs.mailbox)],  # type: ignore[list-item]
        ),
    )


class _Trainer(DataParallelTrainer):
    """Ray Train without two actors that cost each start seconds, and that we have no use for."""

    def _create_default_callbacks(self) -> list[Any]:
        # One serves Ray Data. The other is named by `_free_placement_groups`.
        unused = (DatasetsCallback, PlacementGroupCleanerCallback)
        made = super()._create_default_callbacks()
        return [each for each in made if not isinstance(each, unused)]
