"""Where rank 0 leaves events for the driver, which may not be on its node.

A module of its own, because the actor's process imports it: it must not import torch.
"""

import ray

from alexnet.progress import Event


@ray.remote
class Mailbox:
    """An actor that keeps events until they are taken."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def put(self, event: Event) -> None:
        """Leave an event."""
        self.events.append(event)

    def take(self) -> list[Event]:
        """The events since the last call, in order."""
        events, self.events = self.events, []
        return events
