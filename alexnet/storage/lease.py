"""A lease: one process at a time, by a file in a store that its holder keeps renewing.

A holder that dies stops renewing, and `TTL_S` later another may take over. Two that take over in
the same moment are told apart because each looks whether the file is still its own before it goes
on, and with every renewal.
"""

import hashlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields

from alexnet import clock
from alexnet.errors import LeaseError, StoreError, StoreUnavailableError
from alexnet.storage import processes
from alexnet.storage.documents import Reader
from alexnet.storage.store import Store

NAME = "lease.json"

TTL_S = 20.0
"""A lease that was not renewed for so long has no holder any more."""

RENEW_S = 4.0

POLL_S = 0.5
"""How often one who waits looks."""


@dataclass(frozen=True, slots=True)
class Holder:
    """What the file says of the process that holds the lease."""

    token: str
    host: str
    pid: int
    renewed_ms: int
    """In milliseconds since 1970, by the holder's clock."""
    sight: str = ""
    """`processes.namespace_id()` of the holder; the key keeps the name that leases have had."""
    step: int = 0
    """That training had reached."""

    @classmethod
    def here(cls, token: str, step: int = 0) -> "Holder":
        """This process, now."""
        pid, sight = os.getpid(), processes.namespace_id()
        return cls(token, socket.gethostname(), pid, clock.now_ms(), sight, step)

    def to_bytes(self) -> bytes:
        """The file."""
        return json.dumps(asdict(self)).encode()

    @property
    def is_dead(self) -> bool:
        """Whether it was a process that this one would see, and is none any more."""
        # Our own number, and not our lease: the number was given again.
        ours_by_chance = self.pid == os.getpid() and self.sight == processes.namespace_id() != ""
        return ours_by_chance or processes.is_gone(self.pid, self.sight)


def check_held(store: Store, token: str) -> None:
    """Check that the lease of a token is still held.

    Raises:
        LeaseError: the lease is now somebody else's.
        StoreError: the store cannot be reached.
    """
    holder = read(store)
    if holder and holder.token != token:
        raise LeaseError(f"{store.url}: process {holder.pid} on {holder.host} has taken this over.")


def read(store: Store, name: str = NAME) -> Holder | None:
    """Who holds the lease, or held it last and died; None if it was released.

    Raises:
        StoreError: the store cannot be reached.
    """
    try:
        data = store.read(name)
    except StoreUnavailableError:
        raise
    except StoreError:
        if not store.exists(name):
            return None
        data = store.read(name)  # it was made in between
    try:
        tree = READER.tree(data, name)
        known = {field.name for field in fields(Holder)} & set(tree)
        return READER.build({key: tree[key] for key in known}, name)
    except LeaseError:
        # Of another release, or damaged: it runs out unless it changes.
        return Holder(hashlib.sha256(data).hexdigest(), "an unknown host", 0, 0)


READER = Reader(Holder, LeaseError, "It runs out unless it changes.")


class Lease:
    """The right to work on a run; held from `take` to `release`."""

    def __init__(self, store: Store, on_loss: Callable[[], object] = lambda: None) -> None:
        """Take nothing yet.

        Args:
            store: the folder of the run.
            on_loss: called from another thread if somebody else has taken over.
        """
        self.store, self._on_loss = store, on_loss
        self.token = secrets.token_hex(8)
        """What workers show, see `check_held`."""
        self._released = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)
        self.step = 0
        """That training has reached; written down with each renewal."""
        self._lost = ""

    def take(self, what: str, instead: str = "") -> Holder | None:
        """Hold the lease, after waiting for one that is dead to run out.

        Args:
            what: is worked on; begins the message of an error.
            instead: of waiting for the holder's end, what the user can do; ends the message.

        Returns:
            Who held it before and did not release it, or None.

        Raises:
            LeaseError: somebody holds it and renews it.
            StoreError: the store cannot be reached.
        """
        before = self._wait(what, instead)
        if before:
            self.step = before.step
            if read(self.store) == before:
                self.store.delete(NAME)
        if not self.store.create(NAME, self._content()) or not self._is_mine():
            raise LeaseError(f"{what}: another process has just taken it. Start again.")
        self._renewer.start()
        return before

    @contextmanager
    def held(self, *what: str) -> Iterator[Holder | None]:
        """Take it, with the arguments of `take`, and release it at the end of the block."""
        before = self.take(*what)
        try:
            yield before
        finally:
            with suppress(StoreError):  # it runs out by itself
                self.release()

    def check(self) -> None:
        """Check that nobody else has taken over.

        Raises:
            LeaseError: somebody else has taken over.
        """
        if self._lost:
            raise LeaseError(self._lost)

    def release(self) -> None:
        """Let the next one begin at once.

        Raises:
            StoreError: the store cannot be reached; the lease runs out by itself.
        """
        self._released.set()
        self._renewer.join()
        if self._is_mine():
            self.store.delete(NAME)

    def _wait(self, what: str, instead: str) -> Holder | None:
        """Until there is no living holder; the dead one, or None."""
        first: Holder | None = None
        deadline = time.monotonic() + TTL_S
        while found := read(self.store):
            first = first or found
            if found != first:  # not by the clock: another machine's may be wrong
                raise LeaseError(
                    f"{what}: process {found.pid} on {found.host} is at work on it. Wait for its "
                    f"end{instead}."
                )
            if found.is_dead or time.monotonic() > deadline:
                return found
            time.sleep(POLL_S)
        return None

    def _is_mine(self) -> bool:
        holder = read(self.store)
        return holder is not None and holder.token == self.token

    def _content(self) -> bytes:
        return Holder.here(self.token, self.step).to_bytes()

    def _renew(self) -> None:
        while not self._released.wait(RENEW_S):
            try:
                if not self._is_mine():
                    self._lost = f"{self.store.url}: another process has taken this run over."
                    self._on_loss()
                    return
                self.store.write(NAME, self._content())
            except StoreError:
                continue  # away, or full: it is tried again before it runs out
