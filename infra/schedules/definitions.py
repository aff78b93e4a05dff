"""What Dagster runs: a retraining at each tick of the schedule, and when there is new data.

Dagster decides when, keeps the history, and shows it. What is done is `pipelines/submit.py`, which
any other scheduler could call as well.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from alexnet.adapters.object_store import open_store
from alexnet.config import RunConfig
from alexnet.dataset import manifest
from alexnet.errors import AlexNetError
from pipelines import _command
from pipelines.steps import run_inputs

ROOT = Path(__file__).resolve().parents[2]

ARGUMENTS = "ALEXNET_SCHEDULE_ARGUMENTS"
"""Variable with the arguments of `pipelines/submit.py` as a JSON list; set by `server.py`."""

SENSOR_INTERVAL_S = 60
"""How often it is looked for new data; our choice: one small read."""

WEEKLY = "17 3 * * 1"
"""The schedule of a configuration that has none."""

OUTCOMES = {0: "", 3: "refused", 4: "waits for approval", 5: "another process is at work"}
"""By exit status. None is a failure of the schedule: another try would end the same."""

STOPPED = (130, 143)
"""By a signal: it was wanted."""

RETRIES = dg.RetryPolicy(max_retries=2, delay=60)
"""For an outage. What was started is resumed; a mistake in the configuration stays one."""


def arguments() -> list[str]:
    """Of `pipelines/submit.py`."""
    found: list[str] = json.loads(os.environ.get(ARGUMENTS, "[]"))
    return found


def configuration() -> RunConfig:
    """What is retrained.

    Raises:
        ConfigError: a key or value breaks a rule.
    """
    parser = argparse.ArgumentParser()
    _command.add_run(parser)
    return _command.config(parser.parse_known_args(arguments())[0])


@dg.op(config_schema={"tick": dg.Field(str, default_value="")}, retry_policy=RETRIES)
def retraining(context: dg.OpExecutionContext) -> None:
    """Submit it, wait for its end, and note what came of it."""
    tick = context.op_config["tick"] or datetime.now(UTC).isoformat(timespec="minutes")
    script = str(ROOT / "pipelines" / "submit.py")
    status, last = _watched(context, [sys.executable, "-u", script, *arguments(), f"--tick={tick}"])
    if status not in OUTCOMES:
        raise dg.Failure(f"exit status {status}: {last}", allow_retries=status not in STOPPED)
    outcome = OUTCOMES[status] or _outcome(last)
    context.instance.add_run_tags(context.run_id, {"outcome": outcome})
    context.add_output_metadata({"outcome": outcome, "said": last, "tick": tick})


def _watched(context: dg.OpExecutionContext, script: list[str]) -> tuple[int, str]:
    """Exit status and last line; each line goes to the run's page."""
    last = ""
    with subprocess.Popen(
        script, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            for line in process.stdout or ():
                if line.strip():
                    last = line.strip()
                    context.log.info(last)
        except BaseException:  # Dagster ends a run by an exception here
            process.send_signal(signal.SIGTERM)  # with a checkpoint
            raise
    return process.returncode, last


def _outcome(last: str) -> str:
    """Of a retraining that has ended well, from what it said at last."""
    skipped = re.search(r": (skip): ", last)
    return "nothing new" if skipped else "promoted"


@dg.job(description="Look for something new; train, judge, promote.")
def retrain() -> None:
    """One retraining."""
    retraining()


def _under_way(context: Any) -> str:
    """The run that has not ended yet; a second one could only find the lease held."""
    unfinished = dg.RunsFilter(
        job_name=retrain.name,
        statuses=[
            dg.DagsterRunStatus.QUEUED,
            dg.DagsterRunStatus.NOT_STARTED,
            dg.DagsterRunStatus.STARTING,
            dg.DagsterRunStatus.STARTED,
        ],
    )
    found = context.instance.get_runs(unfinished, limit=1)
    return found[0].run_id if found else ""


def _request(tick: datetime, key: str) -> dg.RunRequest:
    text = tick.astimezone(UTC).isoformat(timespec="minutes")
    config = {"ops": {retraining.name: {"config": {"tick": text}}}}
    return dg.RunRequest(run_key=key, run_config=config, tags={"tick": text})


_settings = configuration().retrain


@dg.schedule(
    job=retrain,
    cron_schedule=_settings.schedule or WEEKLY,
    execution_timezone=_settings.timezone,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def ticks(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """`retrain.schedule`; of several ticks that were missed, only the last is made up for."""
    under_way = _under_way(context)
    if under_way:
        return dg.SkipReason(f"run {under_way} is under way")
    tick = context.scheduled_execution_time
    return _request(tick, f"tick {tick.astimezone(UTC).isoformat()}")


@dg.sensor(
    job=retrain,
    minimum_interval_seconds=SENSOR_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def new_data(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """A new manifest; the first one that it sees is not new."""
    try:
        folder, name = manifest.locate(run_inputs.data_url(configuration()))
        digest = manifest.read(open_store(folder), name).digest
    except AlexNetError as error:
        return dg.SkipReason(str(error))
    if context.cursor in (None, digest):
        context.update_cursor(digest)
        return dg.SkipReason(f"manifest {digest[:12]} is not new")
    under_way = _under_way(context)
    if under_way:
        return dg.SkipReason(f"manifest {digest[:12]} is new, and run {under_way} is under way")
    return dg.SensorResult(
        run_requests=[_request(datetime.now(UTC), f"manifest {digest}")], cursor=digest
    )


definitions = dg.Definitions(jobs=[retrain], schedules=[ticks], sensors=[new_data])
