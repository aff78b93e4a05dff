"""What a drill plays on: S3, MLflow, a Ray cluster of several nodes, and trainings on it."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from alexnet.runs.run_record import LostWork
from infra import servers
from infra.drills.gate import Gate, gate
from infra.processes import BIN, Process, environment
from infra.programs import ROOT, NotShownError, expect, using_s3, wait_until

Settings = dict[str, Any]
"""`section.key` -> value."""

SMALL: Settings = {
    "data.num_streams": 8,
    "data.loader_processes": 1,
    "model.width": 0.05,
    "train.epochs": 6,
    "train.log_every_steps": 1,
    "train.checkpoint_every_s": 1,
    "cluster.store_timeout_s": 120,
    "cluster.hang_timeout_s": 125,
    "cluster.start_timeout_s": 120,
    "registry.timeout_s": 120,
}
"""A training on the embedded digits, 132 steps, that a kill can hit at any of them."""


TWO: Settings = {"cluster.num_workers": 2}

AT_EPOCHS: Settings = {"train.checkpoint_every_s": 1000}
"""No checkpoint but at the ends of epochs, and when it is asked for."""


@dataclass
class Training:
    """A `pipelines/train.py` under way."""

    process: subprocess.Popen[bytes]
    log: Path
    began: float = field(default_factory=time.monotonic)

    @property
    def text(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")

    @property
    def step(self) -> int:
        """The last one that it has printed; 0 before."""
        return last_step(self.text)

    def reach(self, step: int) -> None:
        """Wait until it is at a step."""
        self._wait(lambda: self.step >= step, f"step {step}")

    def wait_for(self, words: str) -> None:
        """Wait until it has printed something."""
        self._wait(lambda: words in self.text, repr(words))

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(lambda: condition() or self.process.poll() is not None, f"{what} of {self}")
        expect(condition(), f"ended before {what}:\n{self.text[-2000:]}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end; the exit status."""
        wait_until(lambda: self.process.poll() is not None, f"the end of {self}")
        return int(self.process.returncode)

    def done(self) -> None:
        """Wait for its end, which must be a good one."""
        expect(self.end() == 0, f"exit status {self.process.returncode}:\n{self.text[-2000:]}")

    def __str__(self) -> str:
        return f"the training with the log {self.log}"


def last_step(text: str) -> int:
    """Of the last line that a training has printed of a step; 0 without one."""
    found = re.findall(r"^step=(\d+)/", text, re.MULTILINE)
    return int(found[-1]) if found else 0


class Surroundings:
    """Servers and a cluster, for one or more drills."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Start S3, MLflow and the head of the cluster, which has no CPU for workers."""
        self.folder, self._stack = folder, stack
        s3 = stack.enter_context(servers.s3_server(folder))
        self.client = s3.client()
        self.s3: Gate = stack.enter_context(gate(s3.endpoint))
        env = s3.env()
        mlflow_url = stack.enter_context(servers.mlflow_server(folder, env))
        self.mlflow: Gate = stack.enter_context(gate(mlflow_url))
        self.mlflow_url = mlflow_url
        """Past the gate, to see what has arrived."""
        self._env = {
            **env,
            "AWS_ENDPOINT_URL": self.s3.url,
            "MLFLOW_TRACKING_URI": self.mlflow.url,
            "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20",
            "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
        }
        self.head = stack.enter_context(servers.ray_head(folder, self._env, num_cpus=0))
        self.nodes: dict[Process, int] = {}
        """Those for workers, with their CPUs; the head has none."""
        self._started = 0
        self._trainings: list[Training] = []

    @property
    def env(self) -> dict[str, str]:
        """Of a training on the cluster."""
        return environment(self._env, self.head.access, {"RAY_ADDRESS": self.head.gcs_address})

    def reset(self) -> None:
        """Everything answers, and nothing is left of the drill before but its nodes."""
        self.s3.open()
        self.mlflow.open()
        for training in self._trainings:
            _kill(training.process)
        self._trainings.clear()

    def head_processes(self) -> list[psutil.Process]:
        """Of the node that drivers and Ray Train's controllers are on."""
        return processes_of(self.head.process)

    def node_id(self, node: Process) -> str:
        """As Ray names it."""
        for each in processes_of(node):
            for argument in each.cmdline():
                if argument.startswith("--node_id="):
                    return str(argument.partition("=")[2])
        raise NotShownError(f"{node.name} has no raylet")

    def set_nodes(self, *cpus: int) -> None:
        """Have so many nodes, with so many CPUs each; those that fit stay."""
        wanted = list(cpus)
        for node, count in list(self.nodes.items()):
            if node.process.poll() is None and count in wanted:
                wanted.remove(count)
            else:
                self.remove_node(node)
        for count in wanted:
            self.add_node(count)

    def add_node(self, cpus: int = 1) -> Process:
        """One more node."""
        self._started += 1
        node = self._stack.enter_context(
            servers.ray_node(f"node-{self._started}", self.folder, self._env, self.head, cpus)
        )
        self.nodes[node] = cpus
        return node

    def remove_node(self, node: Process) -> None:
        """Take a node away without notice."""
        del self.nodes[node]
        for each in processes_of(node):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        node.process.kill()
        node.process.wait()

    def train(self, name: str, settings: Settings, storage: str = "") -> Training:
        """Begin or resume a run of the small training."""
        log = self.folder / f"{name}-{time.monotonic_ns()}.log"
        values = SMALL | settings
        command = [
            *(sys.executable, str(ROOT / "pipelines" / "train.py")),
            *(f"--set=run.name={name}", f"--set=cluster.storage_url={storage or self.storage}"),
            *(f"--set={key}={value}" for key, value in values.items()),
        ]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=self.env, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
            )
        self._stack.callback(_kill, process)
        self._trainings.append(Training(process, log))
        return self._trainings[-1]

    @property
    def storage(self) -> str:
        """Where the runs are."""
        return "s3://checkpoints/drills"

    def using_s3(self) -> AbstractContextManager[None]:
        """This process reaches S3 as the trainings do."""
        return using_s3(self.env)

    def record(self, name: str) -> dict[str, Any]:
        """`run.json` of a run."""
        key = f"drills/{name}/run.json"
        body = self.client.get_object(Bucket="checkpoints", Key=key)["Body"].read()
        found: dict[str, Any] = json.loads(body)
        return found

    def steps_redone(self, name: str) -> int:
        """Over all failures of a run."""
        return sum(LostWork(*fields).steps_redone for fields in self.record(name)["lost"])


def processes_of(node: Process) -> list[psutil.Process]:
    """Of a node: its raylet and all that it has started."""
    with suppress(psutil.NoSuchProcess):
        return list(psutil.Process(node.process.pid).children(recursive=True))
    return []


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


@contextmanager
def surroundings(folder: Path) -> Iterator[Surroundings]:
    """Everything started, and stopped at the end."""
    with ExitStack() as stack:
        yield Surroundings(folder, stack)


def ray(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the `ray` command."""
    return subprocess.run(
        [str(BIN / "ray"), *arguments], env=dict(env), capture_output=True, text=True, check=False
    )
