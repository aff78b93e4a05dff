"""How much memory the container of this process has left, by the kernel's control groups."""

from pathlib import Path

MOUNTS = {
    # Hierarchy in /proc/self/cgroup: its folder, and the names of limit, use and reclaimable cache.
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    "": ("", "memory.max", "memory.current", "inactive_file"),
}
"""Of version 1 and of version 2."""


def free_bytes(root: Path = Path("/")) -> int | None:
    """Bytes until the first limit on the way from this process's group to the topmost; None: none.

    Files that the kernel keeps in memory only because there is room count as free, as they do for
    Kubernetes.

    Args:
        root: below which `proc` and `sys` are.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return None
    left = []
    for line in lines:
        _, hierarchies, path = line.split(":", 2)
        for hierarchy in hierarchies.split(","):
            if hierarchy in MOUNTS:
                mount, *names = MOUNTS[hierarchy]
                left += _left(root / "sys/fs/cgroup" / mount, path.strip("/"), *names)
    return min(left, default=None)


def _left(top: Path, path: str, limit: str, used: str, cache: str) -> list[int]:
    """Bytes that are left of each limit."""
    group, found = top / path, []  # a container may see its own group as the top
    while True:
        amount = _read(group / limit)
        if amount.isdigit():  # and not `max`
            stat = dict(line.split() for line in _read(group / "memory.stat").splitlines())
            taken = int(_read(group / used) or 0) - int(stat.get(cache, 0))
            found.append(max(0, int(amount) - taken))
        if group == top:
            return found
        group = group.parent


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # not at this level, or not of this version
        return ""
