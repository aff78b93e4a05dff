"""Each scheduler's file calls what there is, at the times that the configuration has."""

import configparser
import json
import os
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml

from alexnet import config_file
from alexnet.adapters.object_store import open_store
from alexnet.config import is_cron
from alexnet.dataset import manifest
from infra import rehearsal, servers
from infra.schedules import __main__ as command
from infra.schedules import definitions
from pipelines import submit
from pipelines.steps import job_log

ROOT = Path(__file__).parents[2]
SCHEDULES = ROOT / "infra" / "schedules"
WANTED = config_file.load(ROOT / "pipelines" / "configs" / "imagenet.toml", []).retrain.schedule
TICK = datetime(2026, 11, 30, 3, 17, tzinfo=UTC)


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def begin_run(instance):
    run = instance.create_run_for_job(definitions.retrain)
    started = dg.DagsterEvent(
        dg.DagsterEventType.PIPELINE_START.value, job_name=run.job_name, message=""
    )
    instance.report_dagster_event(started, run_id=run.run_id)
    return run.run_id


def test_the_definitions_are_those_that_dagster_can_load():
    dg.Definitions.validate_loadable(definitions.definitions)
    assert definitions.ticks.cron_schedule == definitions.WEEKLY == WANTED


def test_a_tick_asks_for_a_run_that_knows_its_tick_unless_one_is_under_way(instance):
    context = dg.build_schedule_context(instance, scheduled_execution_time=TICK)
    asked = definitions.ticks(context)
    assert asked.run_config["ops"]["retraining"]["config"] == {"tick": "2026-11-30T03:17+00:00"}
    assert asked.run_key == definitions.ticks(context).run_key
    run_id = begin_run(instance)
    assert definitions.ticks(context).skip_message == f"run {run_id} is under way"


def test_new_data_asks_for_a_run_once_and_waits_for_one_that_is_under_way(
    instance, tiny_url, tmp_path, monkeypatch
):
    data = shutil.copytree(tiny_url, tmp_path / "data")
    monkeypatch.setenv(definitions.ARGUMENTS, json.dumps([f"--set=data.url={data}"]))

    def look(cursor):
        context = dg.build_sensor_context(instance, cursor=cursor)
        found = definitions.new_data(context)
        return found, getattr(found, "cursor", None) or context.cursor

    found, cursor = look(None)
    assert "is not new" in found.skip_message
    assert "is not new" in look(cursor)[0].skip_message

    store = open_store(str(data))
    known = manifest.read(store)
    splits = {split: list(known.split(split)) for split in known.splits}
    splits["train"].pop()
    newer = manifest.publish(store, manifest.draft(known.name, known.classes, known.colour, splits))
    found, after = look(cursor)
    assert [each.run_key for each in found.run_requests] == [f"manifest {newer.digest}"]
    assert "is not new" in look(after)[0].skip_message

    run_id = begin_run(instance)
    found, still = look(cursor)
    assert f"is new, and run {run_id} is under way" in found.skip_message
    assert still == cursor


def test_data_that_cannot_be_read_is_a_reason_not_to_ask(instance, tmp_path, monkeypatch):
    monkeypatch.setenv(definitions.ARGUMENTS, json.dumps([f"--set=data.url={tmp_path}/none"]))
    found = definitions.new_data(dg.build_sensor_context(instance, cursor="before"))
    assert f"{tmp_path}/none" in found.skip_message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no retrain.schedule. Set it there, or by"),
        (["--set=retrain.schedule='weekly'"], "must be five fields of cron"),
        (["none.toml"], "none.toml"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_one_line(arguments, message, capsys, tmp_path):
    assert command.main([*arguments, f"--dir={tmp_path}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_schedule_trains_skips_learns_what_is_new_and_goes_on_after_a_kill(tmp_path):
    if not servers.has_postgres():
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    with rehearsal.stage(tmp_path) as place:
        rehearsal.perform(place, short=True)


def read_unit(name):
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read(SCHEDULES / name)
    return unit


def test_systemd_runs_the_command_and_takes_its_decisions_for_success():
    service = read_unit("alexnet-retrain.service")["Service"]
    assert [int(word) for word in service["SuccessExitStatus"].split()] == list(job_log.DECIDED[1:])
    check_called(shlex.split(service["ExecStart"])[1:])
    timer = read_unit("alexnet-retrain.timer")["Timer"]
    assert timer["Persistent"] == "true"
    minute, hour, *_ = WANTED.split()
    assert timer["OnCalendar"] == f"Mon *-*-* {int(hour):02d}:{int(minute):02d}:00 UTC"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="apt install systemd")
def test_systemd_accepts_the_units(tmp_path):
    for name in ("alexnet-retrain.service", "alexnet-retrain.timer"):
        text = (SCHEDULES / name).read_text()
        text = text.replace("User=alexnet\n", "").replace(
            "/opt/alexnet-pipeline/.venv/bin/python", sys.executable
        )
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", *sorted(tmp_path.iterdir())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_cron_runs_the_command_at_the_time():
    lines = (SCHEDULES / "crontab").read_text().splitlines()
    *_, line = [each for each in lines if each and not each.startswith("#")]
    fields = line.split(None, 6)
    assert is_cron(" ".join(fields[:5]))
    assert " ".join(fields[:5]) == WANTED
    done = subprocess.run(["sh", "-n", "-c", fields[6]], capture_output=True, check=False)
    assert done.returncode == 0
    assert "%" not in line  # which cron takes for the end of a line
    words = shlex.split(fields[6])
    begin = words.index(".venv/bin/python") + 1
    check_called(words[begin : words.index("2>&1")])


def check_called(arguments):
    """That a scheduler calls the command as it is, and with a file that is there."""
    script, run = arguments
    assert ROOT / script == Path(submit.__file__)
    config_file.load(ROOT / run, [])


@pytest.mark.parametrize("name", ["retrain/cronjob.yaml", "gpu-raycronjob/raycronjob.yaml"])
def test_kubernetes_keeps_the_same_times(name):
    documents = yaml.safe_load_all((ROOT / "infra" / "kubernetes" / name).read_text())
    assert WANTED in [each["spec"].get("schedule") for each in documents if each]


LOAD_DAG = """
import json, runpy, sys
from airflow.serialization.serialized_objects import DagSerialization
dag = runpy.run_path(sys.argv[1])["dag"]
DagSerialization.to_dict(dag)
(task,) = dag.tasks
print(json.dumps([dag.schedule, dag.catchup, dag.max_active_runs, task.skip_on_exit_code,
                  task.bash_command]))
"""


def test_airflow_loads_the_dag(tmp_path):
    python = os.environ.get("AIRFLOW_PYTHON")
    if not python:
        pytest.skip("Airflow is not installed: see .ci/run for its environment and AIRFLOW_PYTHON")
    done = subprocess.run(
        [python, "-c", LOAD_DAG, SCHEDULES / "airflow_dag.py"],
        env=os.environ | {"AIRFLOW_HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cron, catchup, most, skipped, script = json.loads(done.stdout.splitlines()[-1])
    assert (cron, catchup, most) == (WANTED, False, 1)
    assert skipped == list(job_log.DECIDED[1:])
    words = shlex.split(script.partition(" --tick")[0])
    check_called(words[words.index(".venv/bin/python") + 1 :])
