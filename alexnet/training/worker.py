"""The interface between the loop and its launcher (a Protocol).

The loop never imports Ray: `alexnet/adapters/ray_worker.py` has the worker for it, and tests run
the same loop in one process.
"""

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
        """Send an event to all listeners; only rank 0 calls it."""
