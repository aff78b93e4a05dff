"""Commands on a tiny run, in this process or in one of their own."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from alexnet.telemetry import prometheus_metrics

ROOT = Path(__file__).parents[1]

TINY = """
name = "tiny"
[model]
num_classes = 3
width = 0.05
[data]
url = "{url}"
image_px = 64
num_streams = 4
window_samples = 10
loader_processes = 0
[optim]
warmup_epochs = 0
[train]
epochs = 3
global_batch_size = 12
[cluster]
num_workers = 1
start_timeout_s = 2
storage_url = "{storage}"
"""
"""A run file; one worker without a loader process starts soonest."""

TWO_WORKERS = ("--set=cluster.num_workers=2", "--set=data.loader_processes=1")
"""Where workers are what is tested."""

LENIENT = ("--set=gate.max_calibration_error=0.9", "--set=gate.max_latency_ms=60000")
"""A network that was trained for a second is not calibrated, and this machine may be busy."""

RARE = {
    prometheus_metrics.RESTARTS,
    prometheus_metrics.LOST_SECONDS,
    prometheus_metrics.LOST_COST,
    prometheus_metrics.STEPS_REDONE,
    prometheus_metrics.SKIPPED,
    prometheus_metrics.S3_ERRORS,
}
"""Ray exports a counter from its first count on; see `test_training_metrics.py` for these."""


HOLD = """
import sys
from alexnet.adapters.object_store import open_store
from alexnet.storage.lease import Lease
with Lease(open_store(sys.argv[1])).held("it"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(url):
    """Another process is at work in a folder, and holds its lease; the number of the process."""
    command = [sys.executable, "-c", HOLD, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, cwd=ROOT, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.stdin.close()


class Commands:
    """Gives commands and keeps what they say."""

    def __init__(self, capfd):
        self._capfd, self._started = capfd, []

    def use_tiny(self, folder, data):
        """Write a tiny run's file into a folder."""
        self.file, self.storage = folder / "tiny.toml", folder / "runs"
        self.file.write_text(TINY.format(url=data, storage=self.storage))

    def call(self, main, arguments):
        """Exit status and what was said, of a command in this process."""
        self._capfd.readouterr()
        status = main([*arguments])
        said = self._capfd.readouterr()
        return status, said.out + said.err

    def start_script(self, name, arguments):
        """A command in a process of its own, which does not outlive the test."""
        command = [sys.executable, str(ROOT / "pipelines" / f"{name}.py"), *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
        )
        self._started.append(process)
        return process

    def end(self):
        """Kill what was started and still runs."""
        for process in self._started:
            process.kill()
            process.wait()
