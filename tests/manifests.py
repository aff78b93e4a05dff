"""Files that other programs read: what they are when those read them, and what is wrong with one.

A finding is a line of text; a file without findings is right.
"""

import copy
import functools
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from infra.processes import BIN

ROOT = Path(__file__).parents[1]
KUBERNETES = ROOT / "infra" / "kubernetes"
CRDS = ROOT.parent / "shared" / "data" / "kuberay-crds"

REMOVED = object()
"""Instead of a value: the key is not there."""

ENUMS = {
    "action": {"FailJob", "Ignore", "Count", "FailIndex"},
    "concurrencyPolicy": {"Forbid"},  # of three, the one that is right here
    "effect": {"NoSchedule", "NoExecute", "PreferNoSchedule"},
    "medium": {"Memory"},
    "operator": {"Exists", "Equal", "In", "NotIn"},
    "restartPolicy": {"Never"},
    "submissionMode": {"K8sJobMode"},
    "type": {"RuntimeDefault", "DisruptionTarget"},
}
"""Values that schemas leave open, and Kubernetes or KubeRay does not."""

SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY|PRIVATE")

MAX_RAYJOB_NAME = 47
"""KubeRay refuses longer ones."""

TICK = len("ray-") + len("-29384756")
"""What a CronJob puts to its name for a Job's, and that for a RayJob's."""


def program(name: str) -> str:
    """Path of a program; the test is skipped without it."""
    found = shutil.which(name, path=BIN) or shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed: pip install -e '.[dev]'")
    return found


def output(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command that has ended, with what it said."""
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def pinned(package: str) -> str:
    """The version in constraints.txt."""
    (version,) = re.findall(rf"^{package}==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)
    return version


def project_version() -> str:
    """Of pyproject.toml, which the image's tag must be."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def changed(tree: Any, path: str, value: Any) -> Any:
    """A copy with another value at `key/key/index`."""
    tree = copy.deepcopy(tree)
    *way, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    place = tree
    for key in way:
        place = place[key]
    if value is REMOVED:
        del place[last]
    else:
        place[last] = value
    return tree


@functools.cache
def _kustomized(overlay: str) -> str:
    done = output(program("kubectl"), "kustomize", str(KUBERNETES / overlay))
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(overlay: str) -> list[Any]:
    """The objects that `kubectl apply -k` would send."""
    return list(yaml.safe_load_all(_kustomized(overlay)))


def named(objects: list[Any], kind: str, name: str = "") -> Any:
    """The object of a kind, and of a name where there are several."""
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"].startswith(name)]
    return found


def launcher(objects: list[Any]) -> tuple[Any, Any]:
    """The pod of a tick of the CronJob, and its container."""
    pod = named(objects, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


def walk(tree: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a tree, with the path to it."""
    yield where, tree
    pairs = tree.items() if isinstance(tree, dict) else ()
    pairs = enumerate(tree) if isinstance(tree, list) else pairs
    for key, value in pairs:
        yield from walk(value, f"{where}/{key}")


# ------------------------------------------------------------------------------------- schemas


def schema_findings(kubernetes_object: Any) -> list[str]:
    """What the published schema of its kind says, with unknown fields as errors."""
    if kubernetes_object["apiVersion"].startswith("ray.io/"):
        errors = _crd(kubernetes_object["kind"]).iter_errors(kubernetes_object)
        return [f"{error.json_path}: {error.message}" for error in errors]
    validate = pytest.importorskip("kubernetes_validate", reason="pip install -e '.[dev]'")
    try:
        validate.validate(kubernetes_object, validate.latest_version(), strict=True)
    except validate.ValidationError as error:
        return [str(error)]
    return []


@functools.cache
def _crd(kind: str) -> jsonschema.Draft202012Validator:
    file = CRDS / f"ray.io_{kind.lower()}s.yaml"
    if not file.exists():
        pytest.skip(f"no definition of KubeRay's {kind}: {file} does not exist")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    versions = yaml.load(file.read_text(), loader)["spec"]["versions"]
    (schema,) = [v["schema"]["openAPIV3Schema"] for v in versions if v["name"] == "v1"]
    return jsonschema.Draft202012Validator(_strict(schema))


def _strict(schema: Any) -> Any:
    """JSON schema of Kubernetes' dialect, in which unknown fields are dropped and no errors."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    strict = {key: _strict(value) for key, value in schema.items() if not key.startswith("x-")}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict


# --------------------------------------------------------------------------------------- rules


def rule_findings(objects: list[Any]) -> list[str]:
    """What no schema says: security, and what our own code needs."""
    rules = (_enums, _images, _secrets, _pods, _clusters, _jobs, _ticks, _rights)
    return [
        f"{each['kind']} {each['metadata']['name']}{finding}"
        for each in objects
        for rule in rules
        for finding in rule(each)
    ]


def _enums(each: Any) -> Iterator[str]:
    for where, value in walk(each):
        allowed = ENUMS.get(where.rpartition("/")[2])
        if allowed and isinstance(value, str) and value not in allowed:
            yield f"{where} = {value!r}: must be one of {sorted(allowed)}"


def _images(each: Any) -> Iterator[str]:
    for where, value in walk(each):
        if where.endswith("/image") and not is_pinned(value):
            yield f"{where} = {value!r}: must have a tag, and not latest"


def is_pinned(image: str) -> bool:
    """Whether an image's name says which one."""
    name, _, digest = image.partition("@")
    _, colon, tag = name.rpartition("/")[2].partition(":")
    return bool(digest) or (bool(colon) and tag != "latest")


def _secrets(each: Any) -> Iterator[str]:
    if each["kind"] == "Secret":
        yield ": no secret is kept with the code"
    for where, value in walk(each):
        key = where.rpartition("/")[2]
        if SECRET.search(key) and isinstance(value, str):
            yield f"{where}: a secret in the open"
        if isinstance(value, dict) and "value" in value and SECRET.search(value.get("name", "")):
            yield f"{where}/{value['name']}: a secret in the open"


def _pods(each: Any) -> Iterator[str]:
    for where, pod in walk(each):
        if not isinstance(pod, dict) or "containers" not in pod:
            continue
        around = pod.get("securityContext", {})
        if not around.get("runAsNonRoot") or not around.get("runAsUser"):
            yield f"{where}: may be root"
        if "seccompProfile" not in around:
            yield f"{where}: no seccomp profile"
        for container in pod["containers"]:
            yield from _container(f"{where}/{container['name']}", container)


def _container(where: str, container: Any) -> Iterator[str]:
    rights = container.get("securityContext", {})
    if rights.get("allowPrivilegeEscalation") is not False or rights.get("privileged"):
        yield f"{where}: may gain rights"
    if rights.get("capabilities", {}).get("drop") != ["ALL"] or "runAsUser" in rights:
        yield f"{where}: has rights that it does not need"
    for kind in ("requests", "limits"):
        if not {"cpu", "memory"} <= set(container.get("resources", {}).get(kind, {})):
            yield f"{where}: {kind} neither CPUs nor memory"


def clusters(each: Any) -> Iterator[tuple[str, Any]]:
    """The specifications of Ray clusters in an object."""
    for where, value in walk(each):
        if isinstance(value, dict) and "headGroupSpec" in value:
            yield where, value


def _clusters(each: Any) -> Iterator[str]:
    for where, spec in clusters(each):
        if spec.get("rayVersion") != pinned("ray"):
            yield f"{where}: another Ray than constraints.txt"
        if spec.get("authOptions", {}).get("mode") != "token":
            yield f"{where}: whoever reaches it can run code on it"
        workers = spec.get("workerGroupSpecs", [])
        if workers and spec["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
            yield f"{where}: workers train beside the driver"
        yield from _ray_node(f"{where}/head", spec["headGroupSpec"])
        for group in workers:
            yield from _ray_node(f"{where}/{group['groupName']}", group)
            yield from _worker_group(f"{where}/{group['groupName']}", group)


def _worker_group(where: str, group: Any) -> Iterator[str]:
    if not 1 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
        yield f"{where}: replicas do not rise from 1"
    if group["template"]["spec"].get("automountServiceAccountToken") is not False:
        yield f"{where}: workers need nothing of Kubernetes"


def _ray_node(where: str, group: Any) -> Iterator[str]:
    pod = group["template"]["spec"]
    container = pod["containers"][0]
    env = {variable["name"]: variable.get("value") for variable in container.get("env", [])}
    drain_s = float(env.get("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S") or 30)
    if pod.get("terminationGracePeriodSeconds", 30) <= drain_s:
        yield f"{where}: is killed before it has said that it goes"
    mounts = {m["mountPath"]: m["name"] for m in container.get("volumeMounts", [])}
    memory = {v["name"] for v in pod.get("volumes", []) if v.get("emptyDir", {}).get("medium")}
    if mounts.get("/dev/shm") not in memory:
        yield f"{where}: no shared memory of its own"
    if container.get("envFrom") != [{"configMapRef": {"name": "alexnet"}}]:
        yield f"{where}: does not know where S3 and MLflow are"


def _jobs(each: Any) -> Iterator[str]:
    if each["kind"] not in ("RayJob", "RayCronJob"):
        return
    spec = each["spec"].get("jobTemplate", each["spec"])
    if len(each["metadata"]["name"]) > MAX_RAYJOB_NAME:
        yield ": KubeRay refuses so long a name"
    if "rayClusterSpec" not in spec:
        yield ": has no cluster"
    if not spec.get("shutdownAfterJobFinishes"):
        yield ": its cluster stays"
    if "deletionStrategy" in spec:
        yield ": KubeRay refuses it beside shutdownAfterJobFinishes"
    trains = "pipelines/train.py" in spec["entrypoint"]
    if trains and spec.get("backoffLimit") and "run.name=" not in spec["entrypoint"]:
        yield ": another try would find the run by its settings alone"


def _ticks(each: Any) -> Iterator[str]:
    if each["kind"] != "CronJob":
        return
    if len(each["metadata"]["name"]) + TICK > MAX_RAYJOB_NAME:
        yield ": KubeRay refuses so long a name for its RayJobs"
    if not each["spec"].get("startingDeadlineSeconds"):
        yield ": a hundred missed ticks would stop it for ever"
    if not each["spec"].get("timeZone"):
        yield ": at which hour depends on the cluster"


def _rights(each: Any) -> Iterator[str]:
    if each["kind"].startswith("ClusterRole"):
        yield ": rights in all namespaces"
    for rule in each.get("rules", []):
        if any("*" in values for values in rule.values()):
            yield f": all of something: {rule}"
        beyond = set(rule["verbs"]) - {"create", "get"}
        if rule["resources"] != ["rayjobs"] or rule["apiGroups"] != ["ray.io"] or beyond:
            yield f": more than to see and make RayJobs: {rule}"
