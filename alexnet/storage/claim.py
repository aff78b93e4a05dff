"""Acting alone in a store that cannot make a file only where there is none.

Who wants to act writes a claim, a file of its own name, and then lists the claims. A listing shows
every write that has ended, as S3's does, so of two the one that lists last sees the other, and goes
away. Both may see each other and both go; never do both stay.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from alexnet.errors import LeaseError, StoreError
from alexnet.storage import lease, processes
from alexnet.storage.lease import Holder
from alexnet.storage.store import Store

FOLDER = "claims/"

ACT_S = 20.0
"""After its claim is this old, nobody begins to act any more."""

GONE_S = 60.0
"""A claim that is seen for so long is that of a dead process: longer than `ACT_S` and the last
request, which a store is patient with for 18 s, take together."""


@contextmanager
def alone(store: Store, what: str) -> Iterator[None]:
    """Act in the block as the only one, after waiting for the end of those who act already.

    Args:
        store: whose listings show every write that has ended.
        what: is done; begins the message of an error.

    Raises:
        LeaseError: another process wants to act at the same time.
        StoreError: the store cannot be reached.
    """
    _wait(store)
    token, begun = secrets.token_hex(8), time.monotonic()
    mine = f"{FOLDER}{token}.json"
    try:
        store.write(mine, Holder.here(token).to_bytes())
        for name in _claims(store):
            other = lease.read(store, name) if name != mine else None
            if other:
                raise LeaseError(
                    f"{store.url}/{what}: process {other.pid} on {other.host} is at work on it "
                    "too, and this store has no conditional writes to tell two apart. Give the "
                    "command again."
                )
        if time.monotonic() - begun > ACT_S:
            raise LeaseError(f"{store.url}/{what}: the store was too slow. Give the command again.")
        yield
        if not store.exists(mine):
            raise LeaseError(
                f"{store.url}/{what}: this process was paused for so long that another may have "
                "acted. See what was decided, and give the command again."
            )
    finally:
        with suppress(StoreError):  # it is gone with this process
            store.delete(mine)


def _wait(store: Store) -> None:
    """Until nobody acts; claims of the dead are removed."""
    seen: dict[str, float] = {}
    while names := _claims(store):
        for name in names:
            # By how long it is seen: another machine's clock may be wrong.
            first = seen.setdefault(name, time.monotonic())
            holder = lease.read(store, name)
            gone = holder and processes.is_gone(holder.pid, holder.sight)
            if gone or (holder and time.monotonic() - first > GONE_S):
                store.delete(name)
        time.sleep(lease.POLL_S if _claims(store) else 0)


def _claims(store: Store) -> list[str]:
    return [name for name in store.list() if name.startswith(FOLDER)]
