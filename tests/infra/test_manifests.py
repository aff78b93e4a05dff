"""What is applied to Kubernetes is accepted there, and keeps our own rules."""

import os
import shlex
import stat
import subprocess

import pytest
import yaml

from alexnet import config_file
from alexnet.config import ClusterConfig
from alexnet.training import resource_needs
from tests.manifests import (
    REMOVED,
    ROOT,
    changed,
    clusters,
    launcher,
    named,
    project_version,
    rendered,
    rule_findings,
    schema_findings,
    walk,
)

OVERLAYS = ["cpu", "gpu", "gpu-raycronjob"]

HEAD = "spec/headGroupSpec"
HEAD_POD = f"{HEAD}/template/spec"
HEAD_CONTAINER = f"{HEAD_POD}/containers/0"
WORKERS = "spec/workerGroupSpecs/0"
WORKER_POD = f"{WORKERS}/template/spec"
WORKER_CONTAINER = f"{WORKER_POD}/containers/0"
SUBMITTER = "spec/submitterPodTemplate/spec/containers/0"
TICK_POD = "spec/jobTemplate/spec/template/spec"


@pytest.fixture
def gpu():
    return rendered("gpu")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_fits_the_schema_of_its_kind(overlay):
    for each in rendered(overlay):
        assert schema_findings(each) == [], each["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_keeps_our_rules(overlay):
    assert rule_findings(rendered(overlay)) == []


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("RayCluster", "spec/rayverison", "2.60.0"),
        ("RayCluster", "spec/enableInTreeAutoscaling", "yes"),
        ("RayCluster", "spec/authOptions/mode", "tokens"),
        ("RayCluster", "spec/autoscalerOptions/version", "v3"),
        ("RayCluster", f"{HEAD}/rayStartParams/num-cpus", 0),
        ("RayCluster", f"{HEAD_POD}/terminationGracePeriod", 90),
        ("RayCluster", HEAD, REMOVED),
        ("RayCluster", f"{WORKERS}/maxReplicas", "8"),
        ("RayCluster", f"{WORKERS}/groupName", REMOVED),
        ("RayCluster", f"{WORKER_CONTAINER}/imag", "alexnet:0.1.0"),
        ("RayCluster", f"{WORKER_CONTAINER}/securityContext/runAsNonroot", True),
        ("RayCluster", f"{WORKER_POD}/volumes/0/emptyDir/size", "8Gi"),
        ("RayJob", "spec/backoffLimits", 3),
        ("RayJob", "spec/backoffLimit", "3"),
        ("RayJob", "spec/ttlSecondsAfterFinish", 300),
        ("RayJob", "spec/entrypoint", ["python", "pipelines/train.py"]),
        ("RayJob", "spec/rayClusterSpec/headGroupSpec/template/spec/containers", REMOVED),
        ("RayCronJob", "spec/timezone", "Etc/UTC"),
        ("RayCronJob", "spec/concurrencyPolicy", "Forbid"),
        ("RayCronJob", "spec/schedule", REMOVED),
        ("CronJob", "spec/concurencyPolicy", "Forbid"),
        ("CronJob", "spec/schedule", 17),
        ("CronJob", "spec/startingDeadlineSeconds", "86400"),
        ("CronJob", f"{TICK_POD}/containers/0/comand", ["python"]),
        ("CronJob", f"{TICK_POD}/containers/0/env/0/value", 1),
        ("CronJob", "spec/jobTemplate/spec/template", REMOVED),
        ("Role", "rules/0/verb", ["create"]),
        ("RoleBinding", "roleRef/name", REMOVED),
        ("ServiceAccount", "automountServiceAccountToken", "false"),
        ("ConfigMap", "data/MAX_FAILURES", 3),
        ("Namespace", "metadata/label", {}),
    ],
)
def test_the_schemas_find_a_planted_mistake(kind, path, value):
    overlay = "gpu-raycronjob" if kind == "RayCronJob" else "gpu"
    right = next(each for each in rendered(overlay) if each["kind"] == kind)
    assert schema_findings(changed(right, path, value))


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        # a word that is none, or the wrong one
        ("CronJob", "spec/concurrencyPolicy", "Forbiddn"),
        ("CronJob", "spec/concurrencyPolicy", "Allow"),
        ("CronJob", f"{TICK_POD}/restartPolicy", "Sometimes"),
        ("CronJob", "spec/jobTemplate/spec/podFailurePolicy/rules/0/action", "Fail"),
        ("RayJob", "spec/submissionMode", "K8sMode"),
        ("RayCluster", f"{WORKER_POD}/volumes/0/emptyDir/medium", "RAM"),
        ("RayCluster", f"{WORKER_POD}/tolerations/0/effect", "NoPods"),
        # images
        ("RayCluster", f"{HEAD_CONTAINER}/image", "REGISTRY/alexnet:latest"),
        ("RayCluster", f"{WORKER_CONTAINER}/image", "REGISTRY:5000/alexnet"),
        ("RayJob", f"{SUBMITTER}/image", "alexnet"),
        # root, and rights
        ("RayCluster", f"{HEAD_POD}/securityContext/runAsNonRoot", False),
        ("RayCluster", f"{HEAD_POD}/securityContext/runAsUser", 0),
        ("RayCluster", f"{WORKER_POD}/securityContext", REMOVED),
        ("RayCluster", f"{WORKER_POD}/securityContext/seccompProfile", REMOVED),
        ("RayCluster", f"{WORKER_CONTAINER}/securityContext/privileged", True),
        ("RayCluster", f"{WORKER_CONTAINER}/securityContext/runAsUser", 0),
        ("RayCluster", f"{WORKER_CONTAINER}/securityContext/allowPrivilegeEscalation", REMOVED),
        ("RayJob", f"{SUBMITTER}/securityContext/capabilities", REMOVED),
        ("CronJob", f"{TICK_POD}/securityContext/runAsNonRoot", REMOVED),
        ("RayCluster", f"{WORKER_POD}/automountServiceAccountToken", True),
        ("Role", "rules/0/verbs", ["*"]),
        ("Role", "rules/0/verbs", ["create", "get", "delete"]),
        ("Role", "rules/0/resources", ["rayjobs", "pods"]),
        ("Role", "rules/0/apiGroups", ["*"]),
        ("Role", "kind", "ClusterRole"),
        # secrets
        ("ConfigMap", "data/AWS_SECRET_ACCESS_KEY", "x"),
        ("ConfigMap", "kind", "Secret"),
        ("RayCluster", f"{HEAD_CONTAINER}/env/0", {"name": "RAY_AUTH_TOKEN", "value": "x"}),
        # what a node needs
        ("RayCluster", f"{WORKER_CONTAINER}/resources", REMOVED),
        ("RayCluster", f"{HEAD_CONTAINER}/resources/limits/memory", REMOVED),
        ("RayCluster", f"{WORKER_CONTAINER}/volumeMounts", REMOVED),
        ("RayCluster", f"{WORKER_POD}/volumes/0/emptyDir", {}),
        ("RayCluster", f"{WORKER_CONTAINER}/envFrom", REMOVED),
        ("RayCluster", f"{WORKER_POD}/terminationGracePeriodSeconds", 30),
        ("RayCluster", f"{HEAD_POD}/terminationGracePeriodSeconds", REMOVED),
        # what our code and KubeRay need
        ("RayCluster", "spec/rayVersion", "2.9.0"),
        ("RayCluster", "spec/authOptions", REMOVED),
        ("RayCluster", f"{HEAD}/rayStartParams/num-cpus", "4"),
        ("RayCluster", f"{WORKERS}/minReplicas", 0),
        ("RayCluster", f"{WORKERS}/maxReplicas", 0),
        ("RayJob", "spec/rayClusterSpec", REMOVED),
        ("RayJob", "spec/shutdownAfterJobFinishes", False),
        ("RayJob", "spec/deletionStrategy", {"deletionRules": []}),
        ("RayJob", "spec/entrypoint", "python pipelines/train.py pipelines/configs/imagenet.toml"),
        ("RayJob", "metadata/name", "a" * 48),
        ("CronJob", "metadata/name", "a" * 40),
        ("CronJob", "spec/startingDeadlineSeconds", REMOVED),
        ("CronJob", "spec/timeZone", REMOVED),
    ],
)
def test_our_rules_find_a_planted_mistake(gpu, kind, path, value):
    right = next(each for each in gpu if each["kind"] == kind)
    assert rule_findings([changed(right, path, value)])


@pytest.mark.parametrize("overlay", ["gpu", "gpu-raycronjob"])
def test_every_job_has_the_one_cluster(overlay):
    objects = rendered(overlay)
    specs = [spec for each in objects for _, spec in clusters(each)]
    assert len(specs) >= 3
    assert all(spec == specs[0] for spec in specs)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_image_is_that_of_this_version(overlay):
    images = {
        value for each in rendered(overlay) for where, value in walk(each) if where[-6:] == "/image"
    }
    assert {image.rpartition("/")[2] for image in images} == {f"alexnet:{project_version()}"}


def test_the_cronjob_copies_a_job_that_does_not_run_itself(gpu):
    template = named(gpu, "RayJob", "alexnet-retrain")
    assert launcher(gpu)[1]["command"][3] == template["metadata"]["name"]
    assert template["spec"]["suspend"] is True


def test_a_tick_and_the_submitter_of_its_rayjob_are_two_jobs(gpu):
    # KubeRay gives its submitter the RayJob's name; a Job that is there it would take for its own.
    name = launcher(gpu)[1]["command"][4]
    assert "$(JOB_NAME)" in name
    assert name != "$(JOB_NAME)"


def test_the_launcher_alone_has_the_rights_of_its_role(gpu):
    tick, _ = launcher(gpu)
    binding = named(gpu, "RoleBinding")
    accounts = [(subject["kind"], subject["name"]) for subject in binding["subjects"]]
    assert accounts == [("ServiceAccount", tick["serviceAccountName"])]
    assert binding["roleRef"]["name"] == named(gpu, "Role")["metadata"]["name"]
    for _, spec in clusters(named(gpu, "RayCluster")):
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            assert group["template"]["spec"]["serviceAccountName"] != tick["serviceAccountName"]


def test_the_raycronjob_runs_the_template_and_takes_the_place_of_the_cronjob():
    objects = rendered("gpu-raycronjob")
    template = named(objects, "RayJob", "alexnet-retrain")["spec"]
    assert named(objects, "RayCronJob")["spec"]["jobTemplate"] == template | {"suspend": False}
    assert {"CronJob", "Role", "RoleBinding"}.isdisjoint(each["kind"] for each in objects)


# ---------------------------------------------------------------------------------- entry points


@pytest.fixture
def run_entrypoint(tmp_path):
    """A function that runs an entry point as KubeRay and Ray do; status and what Python got.

    KubeRay puts it into a line for bash in the submitter's pod; `ray job submit` quotes its words
    again, and a shell on the head runs them, where the ConfigMap is the environment.
    """
    programs = tmp_path / "bin"
    programs.mkdir()
    heard = tmp_path / "heard.json"

    def program(name, text):
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)

    def run(entrypoint, env, status):
        program("submit", '#!/bin/bash\nprintf "%q " "$@"\n')
        program("python", f'#!/bin/bash\nprintf "%s\\n" "$@" > {heard}\nexit {status}\n')
        path = {"PATH": f"{programs}:{os.environ['PATH']}"}
        submitter = ["bash", "-ce", "--", f"submit {entrypoint} ;"]
        line = subprocess.run(submitter, env=path, check=True, capture_output=True, text=True)
        assert shlex.split(line.stdout) == shlex.split(entrypoint)
        done = subprocess.run(["bash", "-c", line.stdout], env=path | env, check=False)
        return done.returncode, heard.read_text().splitlines()

    return run


VALUES = {"DATA_URL": "s3://data here/imagenet", "STORAGE_URL": "s3://bucket/runs"}


@pytest.mark.parametrize("name", ["imagenet-001", "alexnet-retrain"])
def test_an_entry_point_reaches_python_with_the_values_of_the_configmap(gpu, run_entrypoint, name):
    assert VALUES.keys() < named(gpu, "ConfigMap")["data"].keys()
    values = VALUES | {"DATA_URL": "s3://bucket/imagenet"}
    _, words = run_entrypoint(named(gpu, "RayJob", name)["spec"]["entrypoint"], values, 0)
    _, file, *options = words
    assert options[::2] == ["--set"] * (len(options) // 2)
    settings = config_file.load(ROOT / file, options[1::2])
    assert settings.data.url == values["DATA_URL"]
    assert settings.cluster.storage_url == values["STORAGE_URL"]


@pytest.mark.parametrize("name", ["imagenet-001", "alexnet-retrain"])
def test_an_entry_point_is_a_script_of_ours(gpu, run_entrypoint, name):
    _, words = run_entrypoint(named(gpu, "RayJob", name)["spec"]["entrypoint"], VALUES, 0)
    assert (ROOT / words[0]).is_file()


def test_the_trial_trains_the_embedded_digits(run_entrypoint):
    job = named(rendered("cpu"), "RayJob")
    _, (script, *options) = run_entrypoint(job["spec"]["entrypoint"], {}, 0)
    assert script == "pipelines/train.py"
    settings = config_file.load(ROOT / "pipelines" / "configs" / "digits.toml", options[1::2])
    assert settings.data.url == ""
    assert settings.cluster.storage_url == "/tmp/alexnet/runs"


@pytest.mark.parametrize(
    ("name", "status", "told"),
    [
        *(("imagenet-001", status, status) for status in (0, 2, 143)),
        *(("alexnet-retrain", status, status) for status in (0, 1, 2, 143)),
        *(("alexnet-retrain", status, 0) for status in (3, 4, 5)),
    ],
)
def test_kuberay_tries_again_what_another_try_may_mend(gpu, run_entrypoint, name, status, told):
    entrypoint = named(gpu, "RayJob", name)["spec"]["entrypoint"]
    assert run_entrypoint(entrypoint, VALUES, status)[0] == told


def test_a_stopped_job_has_time_for_its_last_checkpoint(gpu):
    for name in ("imagenet-001", "alexnet-retrain"):
        runtime_env = yaml.safe_load(named(gpu, "RayJob", name)["spec"]["runtimeEnvYAML"])
        wait_s = float(runtime_env["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"])
        assert wait_s > ClusterConfig().stop_timeout_s


def test_a_worker_pod_holds_a_worker(gpu):
    group = named(gpu, "RayCluster")["spec"]["workerGroupSpecs"][0]
    (container,) = group["template"]["spec"]["containers"]
    settings = config_file.load(
        ROOT / "pipelines" / "configs" / "imagenet.toml", ["cluster.num_workers=[1,8]"]
    )
    has = container["resources"]["requests"]
    gib = {name: int(text.removesuffix("Gi")) for name, text in has.items() if "Gi" in str(text)}
    assert int(has["cpu"]) >= settings.cluster.cpus_per_worker
    assert int(has["nvidia.com/gpu"]) == 1
    assert settings.cluster.num_workers == (group["minReplicas"], group["maxReplicas"])
    shared = int(group["template"]["spec"]["volumes"][0]["emptyDir"]["sizeLimit"][:-2]) * 2**30
    needs_shared = resource_needs.shared_bytes(settings, 1) + int(
        group["rayStartParams"]["object-store-memory"]
    )
    # original ImageNet files; the network of the 1,000 classes
    needs = resource_needs.worker_bytes(settings, 1, sample_bytes=110_000, num_weights=62_378_344)
    assert needs_shared < shared
    assert needs + needs_shared < gib["memory"] * 2**30


def test_ray_knows_the_options_that_its_nodes_are_started_with(gpu):
    from ray.scripts.scripts import start

    known = {option.removeprefix("--") for each in start.params for option in each.opts}
    for _, spec in clusters(named(gpu, "RayCluster")):
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            assert set(group["rayStartParams"]) <= known
