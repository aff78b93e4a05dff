"""The CronJob's pod makes one RayJob a tick, waits for its end, and says how that was.

Kubernetes' API is a server of ours here, over TLS and with a token, that keeps RayJobs and tells of
each the states that a test gives it.
"""

import datetime
import http.server
import json
import ssl
import threading
from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra import rayjob
from infra.processes import ServerError
from tests.manifests import launcher, rendered

TEMPLATE = {
    "apiVersion": "ray.io/v1",
    "kind": "RayJob",
    "metadata": {"name": "template", "labels": {"a": "b"}, "uid": "1", "resourceVersion": "7"},
    "spec": {"suspend": True, "entrypoint": "true"},
    "status": {"jobDeploymentStatus": "Suspended"},
}

RUNNING = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}
SUCCEEDED = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}


@dataclass
class Kubernetes:
    """What the API has, and what was asked of it."""

    states: list
    """Of a new RayJob, one for each time that it is asked for; the last one stays."""
    jobs: dict = field(default_factory=lambda: {"template": TEMPLATE})
    troubles: dict = field(default_factory=lambda: {"GET": [], "POST": []})
    """HTTP statuses of the first answers; None is no answer, `cut` is half of one."""
    asked: list = field(default_factory=list)

    def answer(self, method, path, token, body):
        """Status and body, as the API server gives them."""
        self.asked.append((method, path))
        if self.troubles[method]:
            return self.troubles[method].pop(0), {"message": "in trouble"}
        if token != "Bearer of-the-pod":
            return 401, {"message": "Unauthorized"}
        name = path.removeprefix("/apis/ray.io/v1/namespaces/ours/rayjobs")
        return self.create(body) if method == "POST" else self.get(name.removeprefix("/"))

    def create(self, body):
        name = body["metadata"]["name"]
        if name in self.jobs:
            return 409, {"message": "already exists"}
        self.jobs[name] = body
        return 201, body

    def get(self, name):
        if name == "template":
            return 200, TEMPLATE
        if name not in self.jobs or self.states[0] is None:
            return 404, {"message": f'rayjobs.ray.io "{name}" not found'}
        status = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return 200, self.jobs[name] | {"status": status}


def certificate(folder):
    """A certificate for loopback, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "key.pem").write_bytes(private)


@pytest.fixture
def kubernetes(tmp_path, monkeypatch):
    """The API; this process is a pod of it."""
    api = Kubernetes(states=[SUCCEEDED])

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_one_request(self):
            super().handle_one_request()
            self.close_connection = True

        def respond(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            token = self.headers["Authorization"]
            status, answer = api.answer(self.command, self.path, token, body)
            if status is None:
                return
            text = json.dumps(answer).encode()
            if status == "cut":
                status, text = 200, text[:-3]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = respond

        def log_message(self, *_):
            pass

    certificate(tmp_path)
    (tmp_path / "token").write_text("of-the-pod\n")
    (tmp_path / "namespace").write_text("ours")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "ca.crt", tmp_path / "key.pem")
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setattr(rayjob, "POLL_S", 0.01)
    monkeypatch.setattr(rayjob, "IDENTITY", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "localhost")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_port))
    yield api
    server.shutdown()
    server.server_close()


def test_a_tick_makes_a_rayjob_like_the_template_and_waits_for_its_success(kubernetes, capsys):
    kubernetes.states = [{}, RUNNING, RUNNING, SUCCEEDED]
    assert rayjob.main(["template", "tick-1"]) == 0
    assert kubernetes.jobs["tick-1"] == {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": "tick-1", "labels": {"a": "b"}},
        "spec": {"entrypoint": "true"},
    }
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["tick-1: new", "tick-1: Running RUNNING", "tick-1: Complete SUCCEEDED"]


def test_a_pod_that_takes_the_place_of_a_lost_one_waits_for_the_same_rayjob(kubernetes, capsys):
    first = {"metadata": {"name": "tick-1"}}
    kubernetes.jobs["tick-1"] = first
    assert rayjob.main(["template", "tick-1"]) == 0
    assert kubernetes.jobs["tick-1"] is first
    assert "was created before" in capsys.readouterr().out


@pytest.mark.parametrize(
    "end",
    [
        {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": "exit code 2\nlog"},
        {"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"},
        {"jobDeploymentStatus": "ValidationFailed", "reason": "ValidationFailed"},
    ],
)
def test_a_rayjob_that_does_not_succeed_is_status_1(kubernetes, capsys, end):
    kubernetes.states = [RUNNING, end]
    assert rayjob.main(["template", "tick-1"]) == 1
    assert "log" not in capsys.readouterr().out


def test_a_failed_try_is_not_the_end(kubernetes):
    kubernetes.states = [RUNNING, {"jobDeploymentStatus": "Retrying"}, {}, RUNNING, SUCCEEDED]
    assert rayjob.main(["template", "tick-1"]) == 0


def test_a_server_that_is_away_is_asked_again(kubernetes, capsys):
    kubernetes.troubles = {"GET": [503, None, "cut", 429], "POST": [500, None]}
    assert rayjob.main(["template", "tick-1"]) == 0
    said = capsys.readouterr().out
    assert "answers 503. It is asked again." in said
    assert "does not answer (" in said
    assert "Remote end closed connection" in said


def test_a_rayjob_whose_answer_was_lost_is_not_made_twice(kubernetes, capsys):
    create = kubernetes.create
    answers = [None]

    def create_without_a_word(body):
        status, answer = create(body)
        return (answers.pop() if answers else status), answer

    kubernetes.create = create_without_a_word
    assert rayjob.main(["template", "tick-1"]) == 0
    assert "was created before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "name"), [("GET", "template"), ("POST", "tick-1")], ids=["read", "create"]
)
@pytest.mark.parametrize("status", [403, 422])
def test_what_kubernetes_refuses_is_status_2(kubernetes, capsys, method, name, status):
    kubernetes.troubles[method] = [status]
    assert rayjob.main(["template", "tick-1"]) == 2
    said = capsys.readouterr().err
    assert said == f"rayjob: {name}: Kubernetes answers {status}: in trouble\n"


def test_a_missing_template_is_status_2(kubernetes, capsys):
    assert rayjob.main(["tamplate", "tick-1"]) == 2
    assert '"tamplate" not found' in capsys.readouterr().err


def test_a_rayjob_that_is_deleted_meanwhile_is_status_2(kubernetes, capsys):
    kubernetes.states = [RUNNING, None]
    assert rayjob.main(["template", "tick-1"]) == 2
    assert '"tick-1" not found' in capsys.readouterr().err


def test_a_renewed_token_is_used(kubernetes):
    rayjobs = rayjob.RayJobs(rayjob.server(), rayjob.IDENTITY)
    token = rayjob.IDENTITY / "token"
    token.write_text("of-yesterday")
    with pytest.raises(ServerError, match="answers 401: Unauthorized"):
        rayjobs.get("template")
    token.write_text("of-the-pod")
    assert rayjobs.get("template") == TEMPLATE


def test_another_server_in_its_place_gets_no_token(kubernetes, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    certificate(other)
    for name in ("token", "namespace"):
        (other / name).write_text((tmp_path / name).read_text())
    monkeypatch.setattr(rayjob.time, "sleep", lambda _: pytest.fail("waits"))
    with pytest.raises(pytest.fail.Exception, match="waits"):
        rayjob.RayJobs(rayjob.server(), other).get("template")
    assert kubernetes.asked == []


def test_outside_a_pod_it_says_so(monkeypatch, capsys):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert rayjob.main(["template", "tick-1"]) == 2
    assert "KUBERNETES_SERVICE_HOST is not set" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "url"), [("10.0.0.1", "10.0.0.1"), ("fd00::1", "[fd00::1]")])
def test_the_server_is_that_of_the_pod(monkeypatch, host, url):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    assert rayjob.server() == f"https://{url}:6443"


def test_its_options_are_these_and_no_other(capsys):
    with pytest.raises(SystemExit, match="0"):
        rayjob.main(["--help"])
    words = capsys.readouterr().out.replace("[", " ").replace("]", " ").replace(",", " ").split()
    assert {word for word in words if word.startswith("-")} == {"-h", "--help", "-m"}


def test_the_cronjob_calls_it_as_it_wants_to_be_called(kubernetes):
    _, container = launcher(rendered("gpu"))
    python, option, module, *arguments = container["command"]
    assert (python, option, module) == ("python", "-m", "infra.rayjob")
    kubernetes.jobs["alexnet-retrain"] = TEMPLATE
    assert rayjob.main([word.replace("$(JOB_NAME)", "tick-1") for word in arguments]) == 0
    assert "ray-tick-1" in kubernetes.jobs
