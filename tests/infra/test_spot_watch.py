"""A notice of AWS reaches Ray, whatever the metadata service does before."""

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from infra import servers, spot_watch
from infra.processes import environment
from infra.spot_watch import Metadata

SCRIPT = Path(spot_watch.__file__)


class Service(ThreadingHTTPServer):
    """What each instance has, of the version that asks for a token."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.tokens, self.asked, self.notice, self.broken = 0, 0, None, False

    def take_away_in(self, seconds):
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        self.notice = {"action": "terminate", "time": end.strftime("%Y-%m-%dT%H:%M:%SZ")}


class Answer(BaseHTTPRequestHandler):
    def do_PUT(self):
        assert self.path == "/latest/api/token"
        assert 1 <= int(self.headers["X-aws-ec2-metadata-token-ttl-seconds"]) <= 21600
        self.server.tokens += 1
        self.answer(200, f"token-{self.server.tokens}")

    def do_GET(self):
        assert self.path == "/latest/meta-data/spot/instance-action"
        self.server.asked += 1
        if self.headers["X-aws-ec2-metadata-token"] != f"token-{self.server.tokens}":
            self.answer(401, "")
        elif self.server.broken:
            self.answer(500, "")
        elif self.server.notice is None:
            self.answer(404, "")
        else:
            self.answer(200, json.dumps(self.server.notice))

    def answer(self, status, text):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def service():
    with Service() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def test_no_notice_is_none_and_a_notice_is_its_time(service):
    metadata = Metadata(service.url)
    assert metadata.notice() is None
    service.take_away_in(120)
    assert metadata.notice().isoformat().startswith(service.notice["time"].rstrip("Z"))
    assert service.tokens == 1


def test_a_token_that_has_run_out_is_renewed(service):
    metadata = Metadata(service.url)
    metadata.notice()
    service.tokens += 1  # the one in hand is no longer the one that counts
    with pytest.raises(OSError, match="401"):
        metadata.notice()
    assert metadata.notice() is None


@pytest.mark.parametrize("notice", [{}, [], {"time": "soon"}, {"time": 5}])
def test_a_notice_that_cannot_be_read_is_an_error_that_is_tried_again(service, notice):
    service.notice = notice
    with pytest.raises(OSError, match="a notice that cannot be read"):
        Metadata(service.url).notice()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with servers.ray_head(tmp_path_factory.mktemp("head"), {}, 0) as head:
        yield head


@contextmanager
def watching(service, head, folder, *options):
    env = environment(head.access, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": service.url})
    command = [sys.executable, "-u", SCRIPT, head.gcs_address, "--interval=0.1", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=folder, env=env, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def node_id(node):
    for child in psutil.Process(node.process.pid).children(recursive=True):
        for argument in child.cmdline():
            if argument.startswith("--node_id="):
                return argument.partition("=")[2]
    raise AssertionError("no raylet")


def statuses(head, spot):
    """Of the nodes. One that drains and has nothing to do is gone at once."""
    from ray._raylet import GcsClient
    from ray.autoscaler.v2.sdk import get_cluster_resource_state
    from ray.core.generated.autoscaler_pb2 import NodeStatus

    state = get_cluster_resource_state(GcsClient(address=head.gcs_address))
    found = {}
    for node in state.node_states:
        name = "spot" if node.node_id.hex() == spot else "head"
        status = NodeStatus.Name(node.status)
        found[name] = "gone" if status in ("DRAINING", "DEAD") else status
    return found


@pytest.fixture(scope="module")
def node(cluster, tmp_path_factory):
    """A second node of this machine."""
    with servers.ray_node("spot", tmp_path_factory.mktemp("spot"), {}, cluster, 1) as node:
        yield node


@pytest.mark.slow
def test_a_machine_with_two_nodes_is_one_line(service, cluster, node, tmp_path):
    with watching(service, cluster, tmp_path) as watcher:
        said, _ = watcher.communicate()
    assert watcher.returncode == 2
    assert "Ray nodes on this machine: there must be one." in said
    assert len(said.splitlines()) == 1


@pytest.mark.slow
def test_a_notice_drains_the_node_and_nothing_else_does(service, cluster, node, tmp_path):  # last
    spot = node_id(node)
    service.broken = True
    with watching(service, cluster, tmp_path, f"--node-id={spot}") as watcher:
        assert "HTTP Error 500" in watcher.stdout.readline()
        service.broken = False
        before = service.asked
        node.wait_until(lambda: service.asked > before + 5)
        assert statuses(cluster, spot) == {"head": "IDLE", "spot": "IDLE"}
        service.take_away_in(30)
        assert "Ray knows" in watcher.stdout.readline()
        assert watcher.wait() == 0
    node.wait_until(lambda: statuses(cluster, spot) == {"head": "IDLE", "spot": "gone"})
