"""The interface between the loop and its launcher (a Protocol), and a single-process one.

The loop never imports Ray: `alexnet/adapters/ray_worker.py` has a worker for it, and `LocalWorker`
runs the same loop alone, which is what tests do.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from alexnet.telemetry.events import Event


class Worker(Protocol):
    """One of `world_size` processes that train together."""

    @property
    def rank(self) -> int:
        """Position among all workers, from 0."""

    @property
    def world_size(self) -> int:
        """How many workers there are."""

    @property
    def device(self) -> torch.device:
        """Where this worker computes."""

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the workers."""

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum over the workers, in place."""

    def gather(self, items: list[Any]) -> list[Any]:
        """The items of all workers, in order of rank."""

    def broadcast(self, item: Any) -> Any:
        """Rank 0's item, on every worker; every worker takes part."""

    def relay(self, orders: int) -> int:
        """Broadcast rank 0's value one step late: its previous call's value, 0 at first.

        Every worker calls it once a step. It does not wait for the others: what rank 0 gives in
        this step reaches everybody in the next.
        """

    def stop_requested(self) -> bool:
        """Whether somebody wants the run to end now; only rank 0 asks."""

    def preempted(self) -> bool:
        """Whether a node of the workers is about to be taken away; every worker takes part."""

    def node_metrics(self) -> dict[str, float]:
        """How busy this worker's GPU is, and its node if no other worker of that says so."""

    def publish(self, event: Event) -> None:
        """Tell whoever watches; only rank 0 calls it."""


@dataclass
class LocalWorker:
    """A worker that is alone."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    world_size: int = 1
    events: list[Event] = field(default_factory=list)
    """What was published."""

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model itself: there is nobody to average with."""
        return model

    def all_reduce(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return values

    def gather(self, items: list[Any]) -> list[Any]:
        """The items themselves."""
        return items

    def broadcast(self, item: Any) -> Any:
        """The item itself."""
        return item

    def relay(self, orders: int) -> int:
        """The orders themselves."""
        return orders

    def stop_requested(self) -> bool:
        """Never: there is nobody to ask."""
        return False

    def preempted(self) -> bool:
        """Never: nobody takes this machine away."""
        return False

    def node_metrics(self) -> dict[str, float]:
        """None: whoever runs one process watches it."""
        return {}

    def publish(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)
