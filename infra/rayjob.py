"""Start a RayJob like one that is suspended, and wait for its end.

It is what the CronJob of retraining runs, in a pod. The new RayJob is named after the Kubernetes
Job, of which there is one a tick. So a pod that takes the place of a lost one finds its RayJob and
goes on waiting, and `concurrencyPolicy: Forbid` holds for as long as the RayJob runs.
"""

import argparse
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POLL_S = 15.0
"""How often it is looked how the RayJob is, and how soon a server that is away is asked again."""

TIMEOUT_S = 30.0

IDENTITY = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts a pod's token, its namespace, and the certificate of its API."""

FOUND, CREATED, THERE_IS_ONE = 200, 201, 409

TRANSIENT = (408, 429, 500, 502, 503, 504)
"""HTTP statuses of a server that may well answer the next request."""


class RayJobError(Exception):
    """Something the user can mend."""


@dataclass(frozen=True, slots=True)
class RayJobs:
    """The RayJobs of the pod's namespace."""

    server: str
    """URL of Kubernetes' API."""
    identity: Path

    def get(self, name: str) -> Any:
        """A RayJob as it is now.

        Raises:
            RayJobError: there is none, or this identity may not read it.
        """
        status, answer = self._ask("GET", f"/{name}")
        if status != FOUND:
            raise RayJobError(f"{name}: {_reason(status, answer)}")
        return answer

    def create(self, rayjob: dict[str, Any]) -> bool:
        """Create a RayJob; False if there is one of that name.

        Raises:
            RayJobError: Kubernetes does not accept it.
        """
        status, answer = self._ask("POST", "", rayjob)
        if status not in (CREATED, THERE_IS_ONE):
            raise RayJobError(f"{rayjob['metadata']['name']}: {_reason(status, answer)}")
        return status == CREATED

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Status and answer of a request, repeated until the server gives one."""
        namespace = (self.identity / "namespace").read_text().strip()
        url = f"{self.server}/apis/ray.io/v1/namespaces/{namespace}/rayjobs{path}"
        data = json.dumps(body).encode() if body else None
        trusted = ssl.create_default_context(cafile=str(self.identity / "ca.crt"))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
        )
        while True:
            # Read anew each time: Kubernetes renews it within the hour.
            token = (self.identity / "token").read_text().strip()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310
            try:
                with opener.open(request, timeout=TIMEOUT_S) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code not in TRANSIENT:
                    return error.code, error.read()
                reason = f"answers {error.code}"
            except (urllib.error.URLError, OSError, ValueError) as error:
                reason = f"does not answer ({getattr(error, 'reason', error)})"
            print(f"rayjob: {self.server} {reason}. It is asked again.", flush=True)
            time.sleep(POLL_S)


def _reason(status: int, answer: Any) -> str:
    try:
        said = json.loads(answer)["message"]
    except (ValueError, KeyError, TypeError):
        said = "no reason given"
    return f"Kubernetes answers {status}: {said}"


def server() -> str:
    """URL of Kubernetes' API.

    Raises:
        RayJobError: this is no pod.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if not host:
        raise RayJobError("KUBERNETES_SERVICE_HOST is not set: this runs in a pod only.")
    host = f"[{host}]" if ":" in host else host
    return f"https://{host}:{os.environ.get('KUBERNETES_SERVICE_PORT', '443')}"


def copy_of(template: Any, name: str) -> dict[str, Any]:
    """A RayJob that runs what a suspended one would run."""
    spec = {key: value for key, value in template["spec"].items() if key != "suspend"}
    labels = template["metadata"].get("labels", {})
    return {
        "apiVersion": template["apiVersion"],
        "kind": template["kind"],
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    }


def has_ended(rayjob: Any) -> bool:
    """Whether KubeRay will do no more about it. It is no end that one of several tries failed."""
    state = rayjob.get("status", {}).get("jobDeploymentStatus")
    return state in ("Complete", "Failed", "ValidationFailed")


def line(rayjob: Any) -> str:
    """How a RayJob is, and why, in one line."""
    status = rayjob.get("status", {})
    words = [status.get("jobDeploymentStatus") or "new", status.get("jobStatus") or ""]
    words += [status.get("reason", ""), *status.get("message", "").splitlines()[:1]]
    return f"{rayjob['metadata']['name']}: {' '.join(word for word in words if word)}"


def run(rayjobs: RayJobs, template: str, name: str) -> int:
    """Create the RayJob if there is none of that name, and wait; the exit status.

    Raises:
        RayJobError: it cannot be created, or is deleted meanwhile.
    """
    if not rayjobs.create(copy_of(rayjobs.get(template), name)):
        print(f"{name}: was created before; waiting for its end", flush=True)
    shown = ""
    while True:
        rayjob = rayjobs.get(name)
        if line(rayjob) != shown:
            shown = line(rayjob)
            print(shown, flush=True)
        if has_ended(rayjob):
            return 0 if rayjob["status"].get("jobStatus") == "SUCCEEDED" else 1
        time.sleep(POLL_S)


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.rayjob",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit status: 0 the RayJob has succeeded, 1 it has not, 2 an error to act on.",
    )
    parser.add_argument("template", help="name of the suspended RayJob")
    parser.add_argument("name", help="of the new one")
    args = parser.parse_args(argv)
    try:
        return run(RayJobs(server(), IDENTITY), args.template, args.name)
    except RayJobError as error:
        print(f"rayjob: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
