"""Every event of a run up to its last checkpoint, in the run's folder.

A part is written with each checkpoint, before that is complete: so what came before a checkpoint is
in the journal, and what came after it is trained on and said again. MLflow gets from here what it
missed while it was away. A step that was redone is in two parts; the first of them counts.
"""

import hashlib
from collections.abc import Iterator, Sequence

from alexnet.storage.store import Store
from alexnet.telemetry import events as progress
from alexnet.telemetry.events import Event

FOLDER = "journal/"


def write(store: Store, events: Sequence[Event]) -> None:
    """Keep events; the same ones again change nothing.

    Raises:
        StoreError: they cannot be written.
    """
    if not events:
        return
    data = "".join(f"{progress.to_json(event)}\n" for event in events).encode()
    digest = hashlib.sha256(data).hexdigest()
    name = f"{events[0].time_ms}-{events[0].step:08d}-{digest[:8]}.jsonl"
    store.write(f"{FOLDER}{name}", data)


def read(store: Store) -> Iterator[Event]:
    """All events, in the order of the parts' first ones.

    Raises:
        StoreError: the store cannot be reached, or a part is damaged.
    """
    for name in store.list():
        if name.startswith(FOLDER):
            for text in store.read(name).decode().splitlines():
                yield progress.READER.parse(text, f"{store.url}/{name}")
