"""Ray: the cluster, the workers, the restarts."""

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed
from ray.train import (
    CheckpointConfig,
    CheckpointUploadMode,
    FailureConfig,
    ScalingConfig,
    UserCallback,
)
from torch import Tensor, nn

from alexnet.adapters.ray_mailbox import Mailbox
from alexnet.config import ClusterConfig, RunConfig
from alexnet.errors import AlexNetError, ClusterError, StoreUnavailableError
from alexnet.loop import Trainer
from alexnet.manifest import Manifest
from alexnet.progress import Event
from alexnet.store import Store

CPU_WORKERS = 2
"""Workers when the choice is ours and the cluster has no GPU: the least that is data-parallel."""

REPORT_INTERVAL_S = "0.5"
"""Ray's controller takes one report from the workers at each of its health checks; at its default
of 2 s, epochs shorter than that would wait for it."""

ANSWER_S = 5.0
"""How long a cluster may take to accept a connection; Ray itself would try for minutes."""

POLL_S = 0.25
"""How often the driver asks for new events."""

CHECKPOINTS_KEPT = 2
"""The best by validation top-1, and the latest, which Ray never deletes."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a run gets of the cluster."""

    num_workers: int
    use_gpu: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a training."""

    metrics: dict[str, float]
    """Of the best checkpoint: step, top1, top5, loss."""
    checkpoint: Any
    """`ray.train.Checkpoint` of the best."""
    url: str
    """Where it is, so that it is found though what comes after training fails."""

    @contextmanager
    def best(self) -> Iterator[Path]:
        """Local directory with the best checkpoint."""
        with self.checkpoint.as_directory() as folder:
            yield Path(folder)


def connect() -> None:
    """Join the cluster this job or `RAY_ADDRESS` names, or start one on this machine.

    Raises:
        ClusterError: the cluster does not answer.
    """
    address = os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", REPORT_INTERVAL_S)
    if address:
        _check_answers(address)
    try:
        if address:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            # A laptop may have one core; two workers then share it.
            cpus = max(CPU_WORKERS, os.cpu_count() or 1)
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        where = f"RAY_ADDRESS = {address}" if address else "a Ray cluster on this machine"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ClusterError(
            f"{where}: cannot connect: {reason}. Start the cluster, or unset RAY_ADDRESS."
        ) from error


def _check_answers(address: str) -> None:
    """Refuse an address that nothing listens on."""
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdigit():
        return  # "auto" and the like: Ray looks for itself
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except OSError as error:
        raise ClusterError(
            f"RAY_ADDRESS = {address}: does not answer: {error.strerror or error}. Start the "
            "cluster, or unset RAY_ADDRESS."
        ) from error


def disconnect() -> None:
    """Leave the cluster; one that was started here ends."""
    ray.shutdown()


def claim(settings: ClusterConfig) -> Resources:
    """Wait until the cluster has what the run asks for.

    Raises:
        ClusterError: it still has not after `cluster.start_timeout_s`; at once on this machine's
            own cluster.
    """
    # A cluster that was started for this run does not grow.
    patience_s = settings.start_timeout_s if os.environ.get("RAY_ADDRESS") else 0.0
    deadline = time.monotonic() + patience_s
    while True:
        total = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus, cpus = int(total.get("GPU", 0)), int(total.get("CPU", 0))
        shortage = _shortage(settings, gpus, cpus)
        if not shortage:
            use_gpu = settings.device == "gpu" or (settings.device == "auto" and gpus > 0)
            default = gpus if use_gpu else CPU_WORKERS
            _check_storage(settings)
            return Resources(settings.num_workers or default, use_gpu)
        if time.monotonic() >= deadline:
            waited = f" (waited cluster.start_timeout_s = {patience_s:g})" if patience_s else ""
            raise ClusterError(f"{shortage}{waited}.")
        time.sleep(0.5)


def _shortage(settings: ClusterConfig, gpus: int, cpus: int) -> str:
    """Why a cluster with so many GPUs and CPUs does not do, or the empty string."""
    use_gpu = settings.device == "gpu" or (settings.device == "auto" and gpus > 0)
    if use_gpu and not gpus:
        return (
            "cluster.device = 'gpu': the cluster has no GPU. Set cluster.device=cpu, or add nodes "
            "that have one"
        )
    workers = settings.num_workers or (gpus if use_gpu else CPU_WORKERS)
    if use_gpu and workers > gpus:
        return (
            f"cluster.num_workers = {workers}: the cluster has {gpus} GPUs, one a worker. Set at "
            "most that, or add nodes"
        )
    if workers * settings.cpus_per_worker > cpus:
        return (
            f"cluster.num_workers = {workers}: with cluster.cpus_per_worker = "
            f"{settings.cpus_per_worker} that needs {workers * settings.cpus_per_worker} CPUs, and "
            f"the cluster has {cpus}. Set fewer, or add nodes"
        )
    return ""


def _check_storage(settings: ClusterConfig) -> None:
    """Refuse a local checkpoint folder on a cluster of several machines.

    Raises:
        ClusterError: the folder is local and there are more nodes than one.
    """
    alive = [n for n in ray.nodes() if n["Alive"]]  # type: ignore[no-untyped-call]
    machines = {node["NodeManagerHostname"] for node in alive}
    if len(machines) > 1 and "://" not in settings.storage_url:
        raise ClusterError(
            f"cluster.storage_url = {settings.storage_url!r}: a local folder, and the cluster has "
            f"{len(machines)} machines. Set s3://bucket/prefix, which all of them reach."
        )


def train(
    config: RunConfig,
    manifest: Manifest,
    store: Store,
    *,
    run_name: str,
    resources: Resources,
    watchers: tuple[Callable[[Event], None], ...],
) -> Outcome:
    """Train on the cluster until the end; a failed worker group restarts from its last checkpoint.

    Args:
        config: the run.
        manifest: of the data set in `store`.
        store: reachable from every node.
        run_name: unique; Ray resumes a run whose name it finds in `cluster.storage_url`.
        resources: from `claim`.
        watchers: called in a thread of this process with rank 0's events, in order.

    Raises:
        AlexNetError: what a worker raised, if the user can mend it.
        ClusterError: workers failed more often than `cluster.max_failures`.
    """
    mailbox = Mailbox.options(num_cpus=0).remote()  # type: ignore[attr-defined]
    trainer = ray.train.torch.TorchTrainer(
        _train_on_worker,
        train_loop_config={
            "config": config,
            "manifest": manifest,
            "store": store,
            "mailbox": mailbox,
        },
        scaling_config=ScalingConfig(
            num_workers=resources.num_workers,
            use_gpu=resources.use_gpu,
            resources_per_worker={
                "CPU": config.cluster.cpus_per_worker,
                **({"GPU": 1} if resources.use_gpu else {}),
            },
        ),
        run_config=ray.train.RunConfig(
            name=run_name,
            storage_path=config.cluster.storage_url,
            failure_config=FailureConfig(max_failures=config.cluster.max_failures),
            checkpoint_config=CheckpointConfig(
                num_to_keep=CHECKPOINTS_KEPT,
                checkpoint_score_attribute="top1",
                checkpoint_score_order="max",
            ),
            callbacks=[_StopEarly(config.cluster.storage_url)],  # type: ignore[list-item]
        ),
    )
    with _delivered(mailbox, watchers):
        result = _fit(trainer)
    scored = [(c, m) for c, m in result.best_checkpoints or [] if m.get("top1") is not None]
    if not scored:
        raise ClusterError(f"run {run_name}: ended without a checkpoint that was evaluated.")
    best, metrics = max(scored, key=lambda pair: pair[1]["top1"])
    url = f"{config.cluster.storage_url}/{run_name}/{Path(best.path).name}"
    return Outcome({key: float(value) for key, value in metrics.items()}, best, url)


def _fit(trainer: Any) -> Any:
    try:
        return trainer.fit()
    except SystemExit as error:
        # Ray answers Ctrl-C by stopping the workers and exiting with 0; the caller's exit status
        # must say that the run was interrupted.
        raise KeyboardInterrupt from error
    except ray.train.TrainingFailedError as error:
        cause = _user_error(error)
        if cause:
            raise cause from error
        reason = str(error).strip().splitlines()[-1]
        raise ClusterError(
            f"training failed: {reason} The workers' logs are in Ray's session folder "
            "(`ray logs`, or the dashboard)."
        ) from error


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
class _StopEarly(UserCallback):
    """End the run at once on what no restart mends: wrong or missing data, a full disk.

    Ray would restart the workers `max_failures` times into the same error. An exception out of
    this callback ends the run. A store that does not answer is left to the restarts.
    """

    storage_url: str

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Any]) -> None:
        del run_context
        for failure in worker_exceptions.values():
            cause = _user_error(failure)
            if cause and not isinstance(cause, StoreUnavailableError):
                raise cause
            for error in _unwrapped(failure):
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise ClusterError(
                        f"cluster.storage_url = {self.storage_url!r}: a checkpoint cannot be "
                        "written: no space left. Free some, or set another place; checkpoints "
                        "written before are kept."
                    ) from error


@contextmanager
def _delivered(mailbox: Any, watchers: tuple[Callable[[Event], None], ...]) -> Iterator[None]:
    """Call the watchers for what arrives, from a thread: `fit` keeps the main one for Ctrl-C."""
    done = threading.Event()

    def deliver() -> None:
        last = False
        while not last:
            last = done.wait(POLL_S)
            for event in ray.get(mailbox.take.remote()):
                for watch in watchers:
                    watch(event)

    thread = threading.Thread(target=deliver, name="events", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@dataclass
class _RayWorker:
    """`alexnet.worker.Worker` inside a Ray Train worker."""

    rank: int
    world_size: int
    device: torch.device
    mailbox: Any

    def wrap(self, model: nn.Module) -> nn.Module:
        wrapped: nn.Module = ray.train.torch.prepare_model(
            model,
            move_to_device=False,
            # Gradients are views into DDP's buckets: one copy of them less.
            parallel_strategy_kwargs={"gradient_as_bucket_view": True},
        )
        return wrapped

    def all_reduce(self, values: Tensor) -> Tensor:
        if self.world_size > 1:
            torch.distributed.all_reduce(values)
        return values

    def gather(self, items: list[Any]) -> list[Any]:
        if self.world_size == 1:
            return items
        everyone: list[list[Any]] = [[] for _ in range(self.world_size)]
        torch.distributed.all_gather_object(everyone, items)
        return [item for mine in everyone for item in mine]

    def latest_checkpoint(self) -> AbstractContextManager[Path | None]:
        found = ray.train.get_checkpoint()
        return _local(found) if found else nullcontext(None)

    def report(self, metrics: dict[str, float], folder: Path | None) -> None:
        kept = ray.train.Checkpoint.from_directory(folder) if folder else None
        # The upload runs beside training, and removes the folder when it is done.
        ray.train.report(
            metrics,
            checkpoint=kept,
            checkpoint_dir_name=f"step-{int(metrics['step']):08d}",
            checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
        )

    def publish(self, event: Event) -> None:
        self.mailbox.put.remote(event)


@contextmanager
def _local(found: Any) -> Iterator[Path]:
    with found.as_directory() as folder:
        yield Path(folder)


def _train_on_worker(loop: dict[str, Any]) -> None:
    context = ray.train.get_context()
    worker = _RayWorker(
        context.get_world_rank(),
        context.get_world_size(),
        ray.train.torch.get_device(),
        loop["mailbox"],
    )
    if worker.device.type == "cpu":
        torch.set_num_threads(max(1, loop["config"].cluster.cpus_per_worker))
    Trainer(loop["config"], loop["manifest"], loop["store"], worker).run()
