"""Dagster's page and its daemon, which keep to the schedule of `definitions.py`."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from infra.processes import BIN, HOST, Process, ServerError, free_ports, running
from infra.programs import ROOT
from infra.servers import answers

SETTINGS = """\
telemetry:
  enabled: false
nux:                   # its invitation to a newsletter lies over the page
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 1
run_monitoring:
  enabled: true        # a run whose process is gone has failed
  poll_interval_seconds: 15
"""
"""Of Dagster's instance."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Dagster, at work."""

    url: str
    """Of its page."""
    page: Process
    daemon: Process


@contextmanager
def schedule(
    folder: Path, env: Mapping[str, str], arguments: list[str], port: int = 0
) -> Iterator[Schedule]:
    """Dagster's page and its daemon; `arguments` are those of `pipelines/submit.py`.

    Raises:
        ServerError: it is not installed, or does not start.
    """
    if not find_spec("dagster_webserver"):
        raise ServerError("Dagster: not installed. Run: pip install -e '.[schedule]'")
    home = folder / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(SETTINGS)
    port = port or free_ports(1)[0]
    env = {
        **env,
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "ALEXNET_SCHEDULE_ARGUMENTS": json.dumps(arguments),
        "PYTHONPATH": str(ROOT),
    }
    what = ["-m", "infra.schedules.definitions"]
    url = f"http://{HOST}:{port}"
    page = [sys.executable, "-m", "dagster_webserver", "-h", HOST, "-p", str(port), *what]
    keeper = [str(BIN / "dagster-daemon"), "run", *what]
    with (
        running("page", page, folder, env) as server,
        running("daemon", keeper, folder, env) as daemon,
    ):
        server.wait_until(lambda: answers(f"{url}/server_info"))
        yield Schedule(url, server, daemon)
