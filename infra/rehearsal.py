"""Rehearse operation: retrainings by a schedule on a cluster of three nodes, all on this machine.

SeaweedFS, MLflow on PostgreSQL, a Ray head and two nodes, and Dagster with a tick every minute. The
embedded digits arrive in parts, a retraining is killed, and a second one is started beside it.
"""

import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from alexnet.adapters.object_store import open_store
from alexnet.dataset import embedded_digits
from alexnet.retraining import records
from alexnet.retraining.records import Retraining
from alexnet.storage import folders
from alexnet.telemetry import event_journal
from infra import programs, servers
from infra.processes import environment
from infra.programs import NotShownError, expect, pipeline, using_s3, wait_until
from infra.schedules.server import Schedule, schedule

EVERY_MINUTE = "* * * * *"

MODEL = "rehearsed"

DATA, STORAGE = "s3://datasets/digits", "s3://checkpoints/rehearsal"

SETTINGS = (
    f"--set=data.url={DATA}",
    f"--set=cluster.storage_url={STORAGE}",
    f"--set=registry.model_name={MODEL}",
    f'--set=retrain.schedule="{EVERY_MINUTE}"',
    "--set=train.checkpoint_every_s=2",
)

PARTS = ((0, 900), (900, 1400), (1400, 1797))
"""Digits that arrive together; our choice: the first half is enough to train a champion."""

POLL_S = 0.5
"""How often servers are asked for what must come."""

BUSY = 5
"""Exit status of a retraining beside another."""


@dataclass
class Stage:
    """The servers, and what is seen of them."""

    folder: Path
    env: Mapping[str, str]
    head: servers.RayHead
    schedule: Schedule
    settings: tuple[str, ...]
    """Of the retrainings, besides `SETTINGS`."""

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait for what must come.

        Raises:
            NotShownError: it did not in `programs.PATIENCE_S`, or a part of the schedule has ended.
        """

        def holds() -> object:
            for each in (self.schedule.page, self.schedule.daemon):
                expect(each.process.poll() is None, f"{each.name} has ended, see {each.log}")
            return condition()

        try:
            wait_until(holds, what, POLL_S)
        except NotShownError as error:
            raise NotShownError(f"{error}; page: {self.runs()}") from error

    def runs(self) -> list[dict[str, str]]:
        """What Dagster's page says of each run, the oldest first."""
        query = "{runsOrError {... on Runs {results {runId status tags {key value}}}}}"
        answer = requests.post(f"{self.schedule.url}/graphql", json={"query": query}, timeout=30)
        found: list[Any] = answer.json()["data"]["runsOrError"]["results"]
        return [
            {tag["key"]: tag["value"] for tag in each["tags"]} | {"status": each["status"]}
            for each in reversed(found)
        ]

    def outcomes(self) -> list[str]:
        """Of the runs that the page has as done."""
        return [each.get("outcome", "") for each in self.runs() if each["status"] == "SUCCESS"]

    def retrainings(self) -> list[Retraining]:
        """As the storage has them."""
        return records.read(open_store(folders.retrainings(STORAGE, MODEL)))

    def ended(self, number: int) -> Retraining:
        """Wait until a retraining has ended, and the page says how.

        Raises:
            NotShownError: it does not end.
        """
        self.wait(
            lambda: (
                len(self.retrainings()) >= number
                and self.retrainings()[number - 1].state == "ended"
            ),
            f"the end of retraining {number}",
        )
        last = self.retrainings()[number - 1]
        self.wait(lambda: last.outcome in self.outcomes()[number - 1 :], "its outcome on the page")
        say(f"retraining {number}: {last.reason}; version {last.version} {last.outcome}")
        return last

    def steps_done(self, name: str) -> int:
        """Of the training of a retraining, up to its last checkpoint."""
        events = list(event_journal.read(open_store(f"{STORAGE}/{name}")))
        return max((event.step for event in events), default=0)

    def script(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the commands from this machine."""
        return pipeline(name, *arguments, env=self.env, folder=self.folder)

    def driver(self) -> psutil.Process | None:
        """The process of the retraining that is under way on the cluster."""
        with suppress(psutil.NoSuchProcess):
            for each in psutil.Process(self.head.process.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    words = each.cmdline()
                    if len(words) > 1 and words[1] == "pipelines/retrain.py":
                        return each
        return None


def say(text: str) -> None:
    """Show a line, with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def deliver(stage_env: Mapping[str, str], folder: Path, part: int) -> None:
    """Prepare one part of the digits as anybody's images are prepared.

    Raises:
        NotShownError: it cannot be prepared.
    """
    images = folder / f"images-{part}"
    for number, sample in enumerate(embedded_digits.samples()):
        if PARTS[part][0] <= number < PARTS[part][1]:
            path = images / str(sample.label) / f"{sample.key}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sample.jpeg)
    more = ["--add"] if part else ["--val-share=0.25"]
    done = pipeline("prepare_shards", images, DATA, *more, env=stage_env, folder=folder)
    expect(done.returncode == 0, done.stdout)


@contextmanager
def stage(folder: Path, *settings: str) -> Iterator[Stage]:
    """Everything started, with the first part of the data; and stopped at the end.

    Raises:
        ServerError: something is not installed, or does not start.
    """
    with ExitStack() as stack:
        env = stack.enter_context(servers.s3_server(folder)).env()
        database = stack.enter_context(servers.postgres_server(folder))
        url = stack.enter_context(servers.mlflow_server(folder, env, database))
        env["MLFLOW_TRACKING_URI"] = url
        head = stack.enter_context(servers.ray_head(folder, env, 0, token=secrets.token_hex(32)))
        for number in (1, 2):
            stack.enter_context(servers.ray_node(f"node-{number}", folder, env, head, 1))
        env = environment(env, head.access, {"RAY_API_SERVER_ADDRESS": head.job_address})
        stack.enter_context(using_s3(env))
        deliver(env, folder, 0)
        keeper = stack.enter_context(schedule(folder, env, [*SETTINGS, *settings]))
        yield Stage(folder, env | {"RAY_ADDRESS": head.gcs_address}, head, keeper, settings)


def perform(place: Stage, *, short: bool = False) -> None:
    """All that is rehearsed.

    Args:
        place: with everything started, and the first part of the data.
        short: the third retraining is the one that is killed, instead of another one after it.

    Raises:
        NotShownError: something is not as it should be.
    """
    say(f"page {place.schedule.url}, {len(PARTS[:1])} part of the data, a tick every minute")
    expect(place.ended(1).outcome == "promoted", "the first retraining was not promoted")
    place.wait(lambda: "nothing new" in place.outcomes(), "a tick with nothing to do")
    expect(len(place.retrainings()) == 1, "trained although nothing was new")
    say("the next tick: nothing new")
    if not short:
        deliver(place.env, place.folder, 1)
        say("new shards")
        _gated(place.ended(2))
    deliver(place.env, place.folder, 2 if not short else 1)
    say("new shards")
    number = 2 if short else 3
    _kill(place, number)
    _second_beside(place, number)
    _gated(place.ended(number))
    expect(len(place.retrainings()) == number, "the one that was killed was begun anew")
    _look_at_status(place)


def _gated(last: Retraining) -> None:
    expect(last.outcome in ("promoted", "refused"), f"the gate did not decide: {last.outcome}")
    expect(last.reason == "new data", f"trained for another reason: {last.reason}")


def _kill(place: Stage, number: int) -> None:
    """`kill -9` of a retraining's driver, in the middle of its training."""
    place.wait(lambda: len(place.retrainings()) == number, f"retraining {number}")
    name = place.retrainings()[-1].run_name
    place.wait(lambda: place.steps_done(name) > 0, "its first checkpoint")
    driver = place.driver()
    expect(driver, "it has no process")
    if driver:
        driver.kill()
    say(f"retraining {number}: killed after step {place.steps_done(name)}")


def _second_beside(place: Stage, number: int) -> None:
    """When the next try has resumed, one that is started by hand says who is at work."""
    killed = place.driver()

    def again() -> bool:
        driver = place.driver()
        return (
            driver is not None and driver != killed and "at work     retraining" in _status(place)
        )

    place.wait(again, f"another try of retraining {number}")
    done = place.script("retrain", *SETTINGS, *place.settings)
    expect(done.returncode == BUSY, f"exit status {done.returncode} beside another: {done.stdout}")
    say(f"a second one beside it: {done.stdout.strip().splitlines()[-1]}")


def _status(place: Stage) -> str:
    return place.script("status", *SETTINGS, *place.settings).stdout


def _look_at_status(place: Stage) -> None:
    """`status` says the same as the storage and the page."""
    said = _status(place)
    print(said)
    for each in place.retrainings():
        expect(
            f"version {each.version} {each.outcome}; {each.reason}" in said,
            f"not in status: {each}",
        )
    expect(f"by {EVERY_MINUTE} UTC" in said, "status does not show the next tick")


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = programs.parser(
        "rehearsal", __doc__, "0 all was as it should be, 1 it was not, 2 an error to act on"
    )
    parser.add_argument("--short", action="store_true", help="with one retraining less")
    args = parser.parse_args(argv)
    return programs.exit_status("rehearsal", lambda: _run(short=args.short))


def _run(*, short: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder, stage(Path(folder)) as place:
        perform(place, short=short)
    say("all as it should be")


if __name__ == "__main__":
    sys.exit(main())
