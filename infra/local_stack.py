"""An S3 server, MLflow and a Ray cluster on this machine, to try everything out; until Ctrl-C.

Prometheus watches them where it is installed.
"""

import fcntl
import secrets
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from infra import programs
from infra.processes import BIN, ServerError, write_private
from infra.programs import ROOT
from infra.servers import (
    BUCKETS,
    NUM_CPUS,
    has_prometheus,
    mlflow_server,
    prometheus_server,
    ray_head,
    ray_node,
    s3_server,
)


@contextmanager
def _alone(folder: Path) -> Iterator[TextIO]:
    """Hold the folder's lock.

    Raises:
        ServerError: another stack holds it, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise ServerError(f"{folder}: {error.strerror}. Name another folder with --dir.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServerError(
                f"{folder}: a stack is running here. Stop it, or name another folder with --dir."
            ) from error
        yield lock


def _serve(folder: Path, num_cpus: int) -> None:
    """Start everything, say how to use it, and wait."""
    with ExitStack() as stack:
        stack.enter_context(_alone(folder))
        print("starting S3, MLflow and Ray ...", flush=True)
        env = stack.enter_context(s3_server(folder)).env()
        env["MLFLOW_TRACKING_URI"] = stack.enter_context(mlflow_server(folder, env))
        head = stack.enter_context(ray_head(folder, env, 0, token=secrets.token_hex(32)))
        stack.enter_context(ray_node("ray-worker", folder, env, head, num_cpus))
        watcher = stack.enter_context(prometheus_server(folder, head)) if has_prometheus() else ""
        env |= {"RAY_API_SERVER_ADDRESS": head.job_address, **head.access}
        settings = folder / "env.sh"
        lines = [f"export {key}={shlex.quote(value)}\n" for key, value in env.items()]
        lines.append(f'export PATH={shlex.quote(str(BIN))}:"$PATH"\n')
        write_private(settings, "".join(lines))
        stack.callback(settings.unlink, missing_ok=True)
        print(_welcome(env, settings, watcher), flush=True)
        signal.pause()


def _welcome(env: Mapping[str, str], settings: Path, prometheus: str) -> str:
    watched = f"\nPrometheus  {prometheus}" if prometheus else ""
    return f"""
S3          {env["AWS_ENDPOINT_URL"]}    buckets {", ".join(BUCKETS)}
MLflow      {env["MLFLOW_TRACKING_URI"]}
Ray         {env["RAY_API_SERVER_ADDRESS"]}{watched}

next, in another terminal:
  source {shlex.quote(str(settings))}
  python pipelines/prepare_shards.py IMAGES s3://datasets/NAME
  ray job submit --working-dir . -- python pipelines/train.py CONFIG \\
    --set data.url=s3://datasets/NAME --set cluster.storage_url=s3://checkpoints

Ctrl-C stops all of it; the data stays in {settings.parent}."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = programs.parser("local_stack", __doc__, "0 stopped by a signal, 2 an error to act on")
    default = ROOT / "runs" / "stack"
    parser.add_argument("--dir", type=Path, default=default, help="for all data (runs/stack)")
    parser.add_argument(
        "--cpus", type=int, default=NUM_CPUS, metavar="N", help="of the Ray cluster (%(default)s)"
    )
    args = parser.parse_args(argv)
    if args.cpus < 1:
        parser.error(f"--cpus {args.cpus}: must be 1 or more")
    return programs.exit_status("local_stack", lambda: _serve(args.dir.resolve(), args.cpus), 0)


if __name__ == "__main__":
    sys.exit(main())
