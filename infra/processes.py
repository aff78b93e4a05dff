"""Servers as child processes: free ports, a log each, and nothing left behind."""

import ctypes
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HOST = "127.0.0.1"

START_TIMEOUT_S = 120.0
"""MLflow needs 20 s to make its database, and more on a machine that is busy."""

STOP_TIMEOUT_S = 10.0
BIN = Path(sys.executable).parent
"""Where the servers' programs and a job's `python` are."""


class ServerError(Exception):
    """Something the user can fix."""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nothing listens on."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind((HOST, 0))
        return [listener.getsockname()[1] for listener in listeners]


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


@dataclass(frozen=True, slots=True)
class Process:
    """A server that was started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Poll until the server is ready; an error has the end of its log."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready():
            status = self.process.poll()
            if status is not None:
                raise ServerError(f"{self.name}: ended with status {status}. {self._log_end()}")
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{self.name}: not ready in {START_TIMEOUT_S:g} s. {self._log_end()}"
                )
            time.sleep(0.1)

    def _log_end(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-8:]
        return f"The end of {self.log}:\n" + "\n".join(f"  {line}" for line in lines)


@contextmanager
def running(
    name: str,
    command: list[str],
    folder: Path,
    env: Mapping[str, str],
    stopping: signal.Signals = signal.SIGTERM,
    user: str | None = None,
) -> Iterator[Process]:
    """A server in a process group of its own; stopped with all its descendants.

    Args:
        name: of the server, and of its log.
        command: program and arguments.
        folder: where it runs, and for its log.
        env: its environment.
        stopping: the signal that asks it to end.
        user: that it runs as; None: this process's.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=dict(env),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
            preexec_fn=_bind_to_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )
    try:
        yield Process(name, process, log)
    finally:
        _stop(process, stopping)


_libc = ctypes.CDLL(None)


def _bind_to_parent() -> None:
    """End with the parent however that ends, and stay the ancestor of orphaned descendants."""
    set_parent_death_signal, set_child_subreaper = 1, 36  # linux/prctl.h
    _libc.prctl(set_parent_death_signal, signal.SIGTERM)
    _libc.prctl(set_child_subreaper, 1)


def _stop(process: subprocess.Popen[bytes], stopping: signal.Signals) -> None:
    """Stop the process, then what it started: Ray's workers and jobs leave its process group."""
    descendants: set[Any] = set()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    sent = False
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            descendants |= set(psutil.Process(process.pid).children(recursive=True))
        if not sent:
            process.send_signal(stopping)
            sent = True
        elif time.monotonic() > deadline:
            process.kill()
        time.sleep(0.05)
    for descendant in descendants:
        with suppress(psutil.NoSuchProcess):  # it compares start times, so never another's pid
            descendant.kill()
    psutil.wait_procs(descendants, timeout=STOP_TIMEOUT_S)


def environment(*additions: Mapping[str, str]) -> dict[str, str]:
    """This process's variables, without those that lead to other servers, and with ours."""
    foreign = ("AWS_", "MLFLOW_", "RAY_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    for addition in additions:
        env.update(addition)
    env["PATH"] = os.pathsep.join((str(BIN), env.get("PATH", os.defpath)))
    return env


def leave_on_signals() -> None:
    """Make SIGTERM leave the context managers as Ctrl-C does; a second signal is ignored."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _interrupt)


def _interrupt(*_: object) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
