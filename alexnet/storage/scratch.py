"""Temporary folders for checkpoints, which are removed even if their process is killed.

A checkpoint may be as large as what is free on the disk, and jobs are killed all the time.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alexnet.storage import processes

PREFIX = "alexnet-checkpoint-"


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder of this process, removed afterwards."""
    owner = f"{processes.namespace_id().replace('/', '.')}-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{owner}-") as made:
        yield Path(made)


def sweep() -> None:
    """Remove the folders of processes that are gone."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = left.name.removeprefix(PREFIX).rpartition("-")[0]
        namespace, _, pid = owner.rpartition("-")
        if pid.isdigit() and processes.is_gone(int(pid), namespace.replace(".", "/")):
            shutil.rmtree(left, ignore_errors=True)
