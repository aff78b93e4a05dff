"""What programs of infra/ share: their parser, what they expect, and how they end."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from alexnet.adapters.object_store.s3_client import forget_client
from alexnet.errors import AlexNetError
from infra.processes import ServerError, leave_on_signals

ROOT = Path(__file__).resolve().parents[1]
"""Folder of this tree."""

PATIENCE_S = 600.0
"""How long is waited for what must come."""

POLL_S = 0.05


class NotShownError(Exception):
    """What was to be shown did not hold."""


def expect(holds: object, what: str) -> None:
    """Hold a program to what it shows.

    Raises:
        NotShownError: it does not hold.
    """
    if not holds:
        raise NotShownError(what)


def wait_until(condition: Callable[[], object], what: str, poll_s: float = POLL_S) -> None:
    """Wait for what must come.

    Raises:
        NotShownError: it did not in `PATIENCE_S`.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        expect(time.monotonic() < deadline, f"waited in vain for {what}")
        time.sleep(poll_s)


def pipeline(
    name: str, *arguments: object, env: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run one of the commands of pipelines/, named without `.py`; what it prints is in `stdout`."""
    return subprocess.run(
        [sys.executable, str(ROOT / "pipelines" / f"{name}.py"), *map(str, arguments)],
        env=dict(env),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@contextmanager
def using_s3(env: Mapping[str, str]) -> Iterator[None]:
    """This process reaches S3 as one with that environment does."""
    before = dict(os.environ)
    os.environ.update({key: value for key, value in env.items() if key.startswith("AWS_")})
    forget_client()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        forget_client()


def parser(module: str, description: str | None, exit_statuses: str) -> argparse.ArgumentParser:
    """The parser of `python -m infra.MODULE`."""
    return argparse.ArgumentParser(
        prog=f"python -m infra.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"Exit status: {exit_statuses}.",
    )


def exit_status(name: str, work: Callable[[], int | None], stopped: int = 130) -> int:
    """Do the work until it ends, or a signal does with `stopped`; print an error in one line."""
    leave_on_signals()
    try:
        return work() or 0
    except (NotShownError, ServerError, AlexNetError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1 if isinstance(error, NotShownError) else 2
    except KeyboardInterrupt:
        print("stopped")
        return stopped
