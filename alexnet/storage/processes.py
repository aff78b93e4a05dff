"""Which other processes are visible from here, and whether one of them has ended."""

import os
from functools import cache
from pathlib import Path


@cache
def namespace_id() -> str:
    """An id that all processes of one boot and PID namespace share; empty if unknown.

    Made of the machine's boot and the process namespace: two containers may share a host's name.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux
        return ""


def is_gone(pid: int, seen_from: str) -> bool:
    """Whether this was a process of our namespaces, and is none any more."""
    if not seen_from or seen_from != namespace_id():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
