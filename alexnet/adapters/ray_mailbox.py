"""An actor that passes events from rank 0 to the driver, and a stop request back.

A module of its own, because the actor's process imports it: it must not import torch.
"""

import asyncio

import ray

from alexnet.telemetry.events import Event


@ray.remote
class Mailbox:
    """An actor that keeps events until they are taken, and the wish to stop."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._stop = asyncio.Event()

    async def put(self, event: Event) -> None:
        """Leave an event."""
        self._events.append(event)

    async def take(self) -> list[Event]:
        """The events since the last call, in order."""
        events, self._events = self._events, []
        return events

    async def stop(self) -> None:
        """Ask the workers to stop."""
        self._stop.set()

    async def stopping(self) -> None:
        """Return when the workers are to stop."""
        await self._stop.wait()
