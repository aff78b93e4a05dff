"""A worker that is alone: the loop in one process, without Ray."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.telemetry.events import Event


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
