"""Alerts say what they should, and every panel has data of a run that was really watched."""

import json
import os
import re
import shutil
import sys
import time
import typing
import urllib.parse
import urllib.request
import uuid
from datetime import datetime
from types import SimpleNamespace

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from alexnet.adapters.object_store.s3_client import forget_client
from alexnet.retraining import records
from alexnet.telemetry import prometheus_metrics
from infra import servers
from infra.processes import ServerError, running
from pipelines import retrain
from tests.commands import LENIENT, RARE
from tests.conftest import use_s3
from tests.docs.test_docs import slugs
from tests.manifests import ROOT, changed, output, walk

MONITORING = ROOT / "infra" / "monitoring"
RULES = yaml.safe_load((MONITORING / "rules.yml").read_text())
CASES = yaml.safe_load((MONITORING / "rules_test.yml").read_text())
DASHBOARD = json.loads((MONITORING / "grafana" / "dashboards" / "alexnet.json").read_text())
OPERATIONS = ROOT / "docs" / "operations.md"

ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel, target) for panel in PANELS for target in panel["targets"]]
EXPRESSIONS = [target["expr"] for _, target in QUERIES] + [each["expr"] for each in ALERTS.values()]

LABELS = {each.series: set(each.labels) for each in prometheus_metrics.ALL} | {
    "up": {"job", "instance"}
}
"""Of all that may be asked for: our measures, and what Prometheus says of its targets."""

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed: apt install prometheus"
)


# -------------------------------------------------------------------------------------- promtool


def promtool(*arguments):
    return output("promtool", *map(str, arguments))


def copied(tmp_path, **trees):
    """The files in a folder of their own, some of them with other contents; the folder."""
    for name in ("prometheus", "rules", "rules_test"):
        text = (MONITORING / f"{name}.yml").read_text()
        tree = trees.get(name)
        (tmp_path / f"{name}.yml").write_text(yaml.safe_dump(tree) if tree else text)
    return tmp_path


@needs_prometheus
def test_prometheus_takes_its_settings_and_the_rules():
    done = promtool("check", "config", MONITORING / "prometheus.yml")
    assert done.returncode == 0, done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


@needs_prometheus
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("global/scrape_intervall", "10s"),
        ("global/scrape_interval", "often"),
        ("rule_files/0", "rule.yml"),
        ("scrape_configs/1/job_name", "ray"),
        ("scrape_configs/0/file_sd_configs/0/files/0", "targets/ray.txt"),
    ],
)
def test_a_mistake_in_the_settings_is_found(tmp_path, path, value):
    tree = changed(yaml.safe_load((MONITORING / "prometheus.yml").read_text()), path, value)
    done = promtool("check", "config", copied(tmp_path, prometheus=tree) / "prometheus.yml")
    assert done.returncode != 0


@needs_prometheus
def test_each_alert_fires_when_it_should_and_not_beside_it():
    done = promtool("test", "rules", MONITORING / "rules_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not():
    cases = [each for test in CASES["tests"] for each in test["alert_rule_test"]]
    assert {each["alertname"] for each in cases if each.get("exp_alerts")} == set(ALERTS)
    assert {each["alertname"] for each in cases if not each.get("exp_alerts")} == set(ALERTS)


@needs_prometheus
@pytest.mark.parametrize(
    ("alert", "right", "wrong"),
    [
        ("AlexNetNoProgress", "> 900", "> 600"),
        ("AlexNetNoProgress", "> 0", ">= 0"),
        ("AlexNetNoWorkers", "== 0", "<= 2"),
        ("AlexNetRunEndedEarly", "<", "<="),
        ("AlexNetRunEndedEarly", "unless", "and"),
        ("AlexNetRunEndedEarly", "ray_alexnet_workers", "ray_alexnet_steps_planned"),
        ("AlexNetRunEndedEarly", "{run!~", "{run=~"),
        ("AlexNetWaitsForData", "0.3", "0.1"),
        ("AlexNetWaitsForData", "and max", "or max"),
        ("AlexNetWaitsForData", "avg_over_time", "max_over_time"),
        ("AlexNetRestartsRepeat", "offset 1h", "offset 2h"),
        ("AlexNetRestartsRepeat", "or 0 * sum", "or sum"),
        ("AlexNetRestartsRepeat", ">= 3", ">= 2"),
        ("AlexNetS3Errors", "0.05", "0.005"),
        ("AlexNetS3Errors", "increase", ""),
        ("AlexNetImagesSkipped", "and max", "unless max"),
        ("AlexNetTrackerAway", "== 0", "== 1"),
        ("AlexNetRayUnseen", "ray", ".*"),
        ("AlexNetExporterDown", "alexnet-exporter", "ray"),
        ("AlexNetRetrainingFailed", "given up", "refused"),
        ("AlexNetRetrainingFailed", "6h", "1d"),
        ("AlexNetRetrainingUnfinished", "86400", "172800"),
        ("AlexNetRetrainingUnfinished", "<=", ">="),
        ("AlexNetNotLooked", "8 *", "9 *"),
        ("AlexNetNoRetraining", "15 *", "16 *"),
    ],
)
def test_a_mistake_in_an_alert_is_found(tmp_path, alert, right, wrong):
    rule = ALERTS[alert]
    assert right in rule["expr"]
    mistaken = rule | {"expr": rule["expr"].replace(right, wrong)}
    ends = [
        promtool("test", "rules", copied(tmp_path, **alone(each)) / "rules_test.yml").returncode
        for each in (rule, mistaken)
    ]
    assert (ends[0], bool(ends[1])) == (0, True)


def alone(rule):
    """An alert without the others, and its cases."""
    tests = []
    for test in CASES["tests"]:
        cases = [each for each in test["alert_rule_test"] if each["alertname"] == rule["alert"]]
        tests += [test | {"alert_rule_test": cases}] if cases else []
    return {
        "rules": {"groups": [{"name": "one", "rules": [rule]}]},
        "rules_test": CASES | {"tests": tests},
    }


# ------------------------------------------------------------------------------ names and labels


def asked(expression):
    """The series that PromQL names, and the labels."""
    inner = r'"[^"]*"|\[[^\]]*\]'
    bare = re.sub(inner, "", expression)
    groups = re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", bare)
    matchers = re.findall(r"\{([^}]*)\}", bare)
    labels = {label for each in [*groups, *matchers] for label in re.findall(r"[a-z_]\w*", each)}
    bare = re.sub(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)|\{[^}]*\}", " ", bare)
    words = set(re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*+(?!\s*\()", bare))
    return words - {"and", "or", "unless", "offset"}, labels


def findings(expression, legend=""):
    """What an expression asks for that nobody exports."""
    names, labels = asked(expression)
    for name in names - set(LABELS):
        yield f"{name}: is not exported"
    known = set().union(*(LABELS.get(name, set()) for name in names))
    for label in labels - known:
        yield f"{label}: none of {sorted(names)} has this label"
    for label in set(re.findall(r"\{\{(\w+)\}\}", legend)) - labels:
        yield f"{label}: in the legend, and not in the result"


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_measure_that_is_asked_for_is_exported(expression):
    assert list(findings(expression)) == []
    assert asked(expression)[0]


@pytest.mark.parametrize(("panel", "target"), QUERIES, ids=lambda each: each.get("title", ""))
def test_a_legend_has_labels_of_its_query(panel, target):
    assert list(findings(target["expr"], target["legendFormat"])) == []


@pytest.mark.parametrize(
    ("expression", "legend"),
    [
        ("sum by (run) (ray_alexnet_restart_total)", ""),
        ("sum by (run) (alexnet_restarts_total)", ""),  # without Ray's prefix
        ("sum (rate(step[1m]))", ""),
        ("time() - max (ray_alexnet_step offset 1h) or stepp", ""),
        ("sum by (runs) (ray_alexnet_restarts_total)", ""),
        ('ray_alexnet_restarts_total{currency="EUR"}', ""),
        ("sum by (run) (ray_alexnet_s3_errors_total)", "{{operation}}"),
    ],
)
def test_what_nobody_exports_is_found(expression, legend):
    assert list(findings(expression, legend))


def test_every_outcome_in_a_rule_is_one_that_a_retraining_can_have():
    (named,) = re.findall(r'outcome=~"([^"]+)"', ALERTS["AlexNetRetrainingFailed"]["expr"])
    assert set(named.split("|")) <= set(typing.get_args(records.Outcome))


# -------------------------------------------------------------------------------------- runbooks


def entries():
    """The entries of the page, by their headings."""
    parts = re.split(
        r"^### (.+)$", OPERATIONS.read_text().partition("\n## Alerts\n")[2], flags=re.M
    )
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_each_alert_has_an_entry_in_the_page_and_each_entry_an_alert():
    assert list(entries()) == list(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_leads_to_its_entry_which_says_what_to_do(alert):
    page, _, anchor = ALERTS[alert]["annotations"]["runbook"].partition("#")
    assert ROOT / page == OPERATIONS
    assert anchor == alert.lower()
    assert anchor in slugs(OPERATIONS.read_text())
    assert re.findall(r"^- (\w+): \S", entries()[alert], re.M) == ["Means", "Look", "Do"]
    assert ALERTS[alert]["annotations"]["summary"]


# ------------------------------------------------------------------------------------- dashboard


def read_back(tree):
    """What Grafana's own definition of a dashboard keeps of it."""
    register_default_plugins()
    dashboard = Dashboard.from_json(json.loads(json.dumps(tree)))
    return json.loads(JSONEncoder().encode(dashboard))


def lost(tree):
    """Fields of a dashboard that Grafana does not know."""
    kept = dict(walk(read_back(tree)))
    for where, value in walk(tree):
        same = isinstance(value, dict | list) or value == kept.get(where)
        if where not in kept or not same:
            yield where


def test_grafana_knows_every_field_of_the_dashboard():
    assert list(lost(DASHBOARD)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("panles", []),
        ("templating/list/0/multiple", True),
        ("panels/1/gridpos", {}),
        ("panels/1/gridPos/width", 4),
        ("panels/1/options/colourMode", "value"),
        ("panels/1/fieldConfig/defaults/units", "s"),
        ("panels/8/fieldConfig/defaults/custom/stack", "normal"),
        ("panels/8/targets/0/expression", "up"),
    ],
)
def test_a_field_that_grafana_does_not_know_is_found(path, value):
    assert list(lost(changed(DASHBOARD, path, value)))


def overlapping(panels):
    """Pairs of panels of which one lies on another, or beside the grid of 24 columns."""
    taken = {}
    for panel in panels:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if (x, y) in taken or x >= 24:
                    yield panel["title"], taken.get((x, y))
                taken[x, y] = panel["title"]


def test_panels_lie_beside_each_other_and_have_numbers_of_their_own():
    assert list(overlapping(DASHBOARD["panels"])) == []
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert list(overlapping([PANELS[0], PANELS[0] | {"title": "twice"}]))


def test_grafana_finds_prometheus_and_the_dashboard_where_compose_has_them():
    folder = MONITORING / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    (provider,) = yaml.safe_load((folder / "dashboards" / "alexnet.yml").read_text())["providers"]
    services = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text())["services"]
    uids = {value for where, value in walk(DASHBOARD) if where.endswith("datasource/uid")}
    assert uids == {source["uid"]}
    address = urllib.parse.urlsplit(source["url"])
    assert f"127.0.0.1:9090:{address.port}" in services[address.hostname]["ports"]
    mount = f"./monitoring/grafana/dashboards:{provider['options']['path']}:ro"
    assert mount in services["grafana"]["volumes"]
    interval = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == interval["scrape_interval"]


# ------------------------------------------------------------------------------------- a real run


class Watched:
    """A retraining that Prometheus has watched."""

    def __init__(self, url, model):
        self.url, self.model, self.began = url, model, time.time()
        self.run = "digits-retraining-0001"

    def ask(self, path, **query):
        """The data of an answer of Prometheus."""
        text = urllib.parse.urlencode(query, doseq=True)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{text}") as answer:
            return json.load(answer)["data"]

    def series(self, expression):
        """What a panel shows of the run: the values of each series."""
        values = {"$__rate_interval": "1m", "$run": self.run, "$model": self.model}
        for name, value in values.items():
            expression = expression.replace(name, value)
        assert "$" not in expression
        span = {"start": self.began, "end": time.time(), "step": "5s"}
        found = self.ask("query_range", query=expression, **span)["result"]
        return [[float(value) for _, value in each["values"]] for each in found]

    def wait(self, missing):
        """Wait until nothing is missing."""
        deadline = time.monotonic() + 90
        while left := missing():
            assert time.monotonic() < deadline, left
            time.sleep(0.5)


@pytest.fixture(scope="module")
def watched(job_cluster, mlflow_url, s3, tmp_path_factory):
    """The embedded digits, learnt, judged and promoted on a real cluster; everything in S3."""
    folder = tmp_path_factory.mktemp("monitoring")
    model = f"watched-{uuid.uuid4().hex[:8]}"
    settings = {
        "registry.model_name": model,
        "cluster.storage_url": f"s3://checkpoints/{model}",
        "train.epochs": 3,
        "train.log_every_steps": 5,
        "price.per_worker_hour": 3600,
        "price.per_1000_gets": 1,
    }
    arguments = [*(f"--set={key}={value}" for key, value in settings.items()), *LENIENT]
    script = [sys.executable, str(ROOT / "pipelines" / "exporter.py"), *arguments]
    with pytest.MonkeyPatch.context() as patch:
        use_s3(patch, s3.env())
        patch.setenv("RAY_ADDRESS", job_cluster.gcs_address)
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
        patch.chdir(folder)
        command = [*script, "--port=0", "--every=0"]
        with running("exporter", command, folder, os.environ) as exporter:
            exporter.wait_until(lambda: "/metrics" in exporter.log.read_text())
            address = re.search(r"http://(\S+)/metrics", exporter.log.read_text())[1]
            with servers.prometheus_server(folder, job_cluster, address) as url:
                seen = Watched(url, model)
                assert retrain.main(arguments) == 0
                seen.wait(lambda: [p["title"] for p, t in QUERIES if not seen.series(t["expr"])])
                yield seen
    forget_client()


@pytest.mark.slow
@needs_prometheus
@pytest.mark.proof
def test_every_panel_has_data_of_the_run(watched):
    last = {}
    for panel, target in QUERIES:
        found = watched.series(target["expr"])
        assert found, panel["title"]
        last.setdefault((panel["title"], panel["type"]), []).extend(each[-1] for each in found)
    assert last["Done", "stat"] == [1]
    assert last["Cost", "stat"][0] > 0
    assert 0 < last["Top-1", "stat"][0] <= 1
    assert last["Restarts", "timeseries"] == [0]
    assert set(last["Errors of S3", "timeseries"]) == {0}
    assert last["Champion", "stat"] == [1]
    assert sorted(last["Retrainings by outcome", "timeseries"]) == [0, 0, 0, 0, 1]


@pytest.mark.slow
@needs_prometheus
@pytest.mark.proof
def test_every_measure_that_is_asked_for_was_scraped(watched):
    wanted = set().union(*(asked(each)[0] for each in EXPRESSIONS))
    seen = set(watched.ask("label/__name__/values", **{"match[]": '{__name__=~".+"}'}))
    assert wanted - seen <= {each.series for each in RARE}


@pytest.mark.slow
@needs_prometheus
@pytest.mark.proof
def test_every_rule_is_evaluated_and_none_fires_at_a_run_that_is_well(watched):
    def rules():
        return [rule for group in watched.ask("rules")["groups"] for rule in group["rules"]]

    def old():
        for rule in rules():
            if datetime.fromisoformat(rule["lastEvaluation"]).timestamp() < asked_at:
                yield rule["name"]

    asked_at = time.time()  # when all of the run is there
    watched.wait(lambda: list(old()))
    assert {rule["name"]: rule["health"] for rule in rules()} == dict.fromkeys(ALERTS, "ok")
    alerts = [alert for rule in rules() for alert in rule["alerts"] if alert["state"] == "firing"]
    # Other tests' runs on this cluster may well have been killed again and again.
    own = [each for each in alerts if each["labels"].get("model", watched.model) == watched.model]
    assert own == []


@pytest.mark.slow
@needs_prometheus
@pytest.mark.proof
def test_the_variables_of_the_dashboard_offer_the_run_and_the_model(watched):
    for variable in DASHBOARD["templating"]["list"]:
        metric, label = re.fullmatch(
            r"label_values\((\w+), (\w+)\)", variable["query"]["query"]
        ).groups()
        offered = watched.ask(f"label/{label}/values", **{"match[]": metric})
        assert getattr(watched, variable["name"]) in offered


def test_a_missing_prometheus_is_said_with_the_way_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(servers.shutil, "which", lambda *_, **__: None)
    head = SimpleNamespace(metrics_targets=tmp_path / "ray.json")
    with (
        pytest.raises(ServerError, match="prometheus: not installed. Run: apt install prometheus"),
        servers.prometheus_server(tmp_path, head),
    ):
        pass
