"""The loop's `Worker` (`alexnet/training/worker.py`) inside a Ray Train worker process."""

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

from alexnet.adapters import node_metrics
from alexnet.config import RunConfig
from alexnet.dataset.manifest import Manifest
from alexnet.runs.checkpoint_store import Checkpoints
from alexnet.storage.store import ReadableStore
from alexnet.telemetry.events import Event
from alexnet.training.coordination import End
from alexnet.training.loop import Trainer


@dataclass
class RayWorker:
    """One of the processes that Ray Train has started."""

    rank: int
    world_size: int
    device: torch.device
    mailbox: Any
    timeout_s: float
    """How long one that does not answer is waited for."""
    _relay_group: Any = None
    _relayed: tuple[Tensor, Any] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if self.world_size > 1:
            # Apart from the gradients' group: flags and gradients never wait for each other.
            self._relay_group = dist.new_group(
                backend="gloo", timeout=timedelta(seconds=self.timeout_s)
            )
        if self.rank == 0:
            threading.Thread(target=self._listen, name="stop", daemon=True).start()

    def _listen(self) -> None:
        try:
            ray.get(self.mailbox.stopping.remote())
        except ray.exceptions.RayError:
            return  # the driver is gone, and this process is about to be
        self._stop.set()

    def wrap(self, model: nn.Module) -> nn.Module:
        """See `Worker.wrap`."""
        wrapped: nn.Module = ray.train.torch.prepare_model(
            model,
            move_to_device=False,
            # Gradients are views into DDP's buckets: one copy of them less.
            parallel_strategy_kwargs={"gradient_as_bucket_view": True},
        )
        return wrapped

    def all_reduce(self, values: Tensor) -> Tensor:
        """See `Worker.all_reduce`."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, items: list[Any]) -> list[Any]:
        """See `Worker.gather`."""
        if self.world_size == 1:
            return items
        everyone: list[list[Any]] = [[] for _ in range(self.world_size)]
        dist.all_gather_object(everyone, items)
        return [item for mine in everyone for item in mine]

    def broadcast(self, item: Any) -> Any:
        """See `Worker.broadcast`."""
        if self.world_size == 1:
            return item
        items = [item]
        dist.broadcast_object_list(items, src=0, group=self._relay_group)
        return items[0]

    def relay(self, orders: int) -> int:
        """See `Worker.relay`."""
        if self.world_size == 1:
            return orders
        before, flags = self._relayed, torch.tensor(int(orders))
        handle = dist.broadcast(flags, src=0, group=self._relay_group, async_op=True)
        self._relayed = (flags, handle)
        if before is None:
            return 0
        before[1].wait()
        return int(before[0])

    def stop_requested(self) -> bool:
        """See `Worker.stop_requested`."""
        return self._stop.is_set()

    def preempted(self) -> bool:
        """See `Worker.preempted`."""
        return ray.train.get_preemption_info() is not None

    def node_metrics(self) -> dict[str, float]:
        """See `Worker.node_metrics`."""
        context = ray.train.get_context()
        node, local_rank = f"node-{context.get_node_rank()}", context.get_local_rank()
        own = node_metrics.of_gpu(node, local_rank)
        return own if local_rank else own | node_metrics.of_node(node)

    def publish(self, event: Event) -> None:
        """See `Worker.publish`."""
        self.mailbox.put.remote(event)


@dataclass(frozen=True, slots=True)
class WorkerInputs:
    """What each worker trains with."""

    config: RunConfig
    manifest: Manifest
    store: ReadableStore
    """Of the data set; reachable from every node."""
    checkpoints: Checkpoints
    mailbox: Any
    """Handle of the actor that passes events to the driver."""


def train_on_worker(inputs: WorkerInputs) -> End:
    """What Ray Train runs on each worker."""
    config, context = inputs.config, ray.train.get_context()
    worker = RayWorker(
        context.get_world_rank(),
        context.get_world_size(),
        ray.train.torch.get_device(),
        inputs.mailbox,
        config.cluster.hang_timeout_s,
    )
    if worker.device.type == "cuda":
        torch.cuda.set_device(worker.device)
    else:
        torch.set_num_threads(max(1, config.cluster.cpus_per_worker))
    return Trainer(config, inputs.manifest, inputs.store, worker, inputs.checkpoints).run()
