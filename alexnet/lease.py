"""One process at a time: a file in a store that its holder keeps renewing.

A holder that dies stops renewing, and `TTL_S` later another may take over. Two that take over in
the same moment are told apart because each looks whether the file is still its own before it goes
on, and with every renewal.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alexnet.errors import LeaseError, StoreError, StoreUnavailableError
from alexnet.store import Store

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
    """Equal for processes that see each other; empty if that cannot be known."""
    step: int = 0
    """That training had reached."""

    @property
    def is_dead(self) -> bool:
        """Whether it was a process that this one would see, and is none any more."""
        if self.sight != _sight():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return self.pid == os.getpid()  # a number that was given again


def check_held(store: Store, token: str) -> None:
    """Hold whoever works on behalf of a holder to its lease.

    Raises:
        LeaseError: the lease is now somebody else's.
        StoreError: the store cannot be reached.
    """
    holder = read(store)
    if holder and holder.token != token:
        raise LeaseError(f"{store.url}: process {holder.pid} on {holder.host} has taken this over.")


def read(store: Store) -> Holder | None:
    """Who holds the lease, or held it last and died; None if it was released.

    Raises:
        StoreError: the store cannot be reached.
    """
    try:
        tree: dict[str, Any] = json.loads(store.read(NAME))
        return Holder(**tree)
    except StoreError:
        if store.exists(NAME):
            raise
        return None
    except (ValueError, TypeError):
        return Holder(
            "", "an unknown host", 0, 0
        )  # not ours to understand: it runs out unless it is renewed


def _sight() -> str:
    """Machine, boot and process namespace: two containers may share a host's name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux
        return socket.gethostname()


class Lease:
    """The right to work on a run; held from `take` to `release`."""

    def __init__(self, store: Store, on_loss: Callable[[str], None]) -> None:
        """Take nothing yet.

        Args:
            store: the folder of the run.
            on_loss: called from another thread, with a line, if somebody else has taken over.
        """
        self._store, self._on_loss = store, on_loss
        self.token = secrets.token_hex(8)
        """What whoever works for the holder shows, see `check_held`."""
        self._released = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)
        self.step = 0
        """That training has reached; written down with each renewal."""

    def take(self, what: str) -> Holder | None:
        """Hold the lease, after waiting for one that is dead to run out.

        Args:
            what: is worked on; begins the message of an error.

        Returns:
            Who held it before and did not release it, or None.

        Raises:
            LeaseError: somebody holds it and renews it.
            StoreError: the store cannot be reached.
        """
        before = self._wait(what)
        if before:
            self._store.delete(NAME)
        if not self._store.create(NAME, self._content()) or not self._is_mine():
            raise LeaseError(f"{what}: another process has just taken it. Start again.")
        self._renewer.start()
        return before

    def release(self) -> None:
        """Let the next one begin at once.

        Raises:
            StoreError: the store cannot be reached; the lease runs out by itself.
        """
        self._released.set()
        self._renewer.join()
        if self._is_mine():
            self._store.delete(NAME)

    def _wait(self, what: str) -> Holder | None:
        """Until there is no living holder; the dead one, or None."""
        first = read(self._store)
        deadline = time.monotonic() + TTL_S
        while found := read(self._store):
            if found.is_dead or time.monotonic() > deadline:
                return found
            if first and found.renewed_ms > first.renewed_ms:
                raise LeaseError(
                    f"{what}: process {found.pid} on {found.host} is at work on it. Wait for its "
                    "end, or start another run with --fresh."
                )
            time.sleep(POLL_S)
        return None

    def _is_mine(self) -> bool:
        holder = read(self._store)
        return holder is not None and holder.token == self.token

    def _content(self) -> bytes:
        now_ms = time.time_ns() // 10**6
        host = socket.gethostname()
        holder = Holder(self.token, host, os.getpid(), now_ms, _sight(), self.step)
        return json.dumps(asdict(holder)).encode()

    def _renew(self) -> None:
        while not self._released.wait(RENEW_S):
            try:
                if not self._is_mine():
                    self._on_loss(f"{self._store.url}: another process has taken this run over.")
                    return
                self._store.write(NAME, self._content())
            except StoreUnavailableError:
                continue  # whoever would take over cannot reach it either
