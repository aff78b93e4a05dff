"""Start a RayJob like one that is suspended, and wait for its end.

It is what the CronJob of retraining runs, in a pod. The new RayJob is named after the Kubernetes
Job, of which there is one a tick. So a pod that takes the place of a lost one finds its RayJob and
continues waiting, and `concurrencyPolicy: Forbid` holds for as long as the RayJob runs.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from alexnet.errors import first_line
from infra import programs
from infra.processes import ServerError

POLL_S = 15.0
"""How often it is looked how the RayJob is, and how soon a server that is away is asked again."""

TIMEOUT_S = 30.0

IDENTITY = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts a pod's token, its namespace, and the certificate of its API."""

TRANSIENT = (408, 429, 500, 502, 503, 504)
"""HTTP statuses of a server that may well answer the next request."""


@dataclass(frozen=True, slots=True)
class RayJobs:
    """The RayJobs of the pod's namespace."""

    server: str
    """URL of Kubernetes' API."""
    identity: Path

    def get(self, name: str) -> Any:
        """A RayJob as it is now.

        Raises:
            ServerError: there is none, or this identity may not read it.
        """
        answer = self._ask("GET", f"/{name}")
        if answer.status_code != requests.codes.ok:
            raise _refused(name, answer)
        return answer.json()

    def create(self, rayjob: dict[str, Any]) -> bool:
        """Create a RayJob; False if there is one of that name.

        Raises:
            ServerError: Kubernetes does not accept it.
        """
        answer = self._ask("POST", "", rayjob)
        if answer.status_code not in (requests.codes.created, requests.codes.conflict):
            raise _refused(rayjob["metadata"]["name"], answer)
        return answer.status_code == requests.codes.created

    def _ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        """The answer to a request, repeated until the server gives one."""
        namespace = (self.identity / "namespace").read_text().strip()
        url = f"{self.server}/apis/ray.io/v1/namespaces/{namespace}/rayjobs{path}"
        session = requests.Session()
        session.trust_env = False  # neither its proxies nor its .netrc
        while True:
            # Read again each time: Kubernetes renews it within the hour.
            token = (self.identity / "token").read_text().strip()
            try:
                answer = session.request(
                    method,
                    url,
                    json=body,
                    headers={"Authorization": f"Bearer {token}"},
                    verify=str(self.identity / "ca.crt"),
                    timeout=TIMEOUT_S,
                )
                if answer.ok:
                    answer.json()  # what was cut is asked for again, as if there were no answer
                if answer.status_code not in TRANSIENT:
                    return answer
                reason = f"answers {answer.status_code}"
            except requests.RequestException as error:
                reason = f"does not answer ({first_line(error)})"
            print(f"rayjob: {self.server} {reason}. It is asked again.", flush=True)
            time.sleep(POLL_S)


def _refused(name: str, answer: requests.Response) -> ServerError:
    try:
        said = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        said = "no reason given"
    return ServerError(f"{name}: Kubernetes answers {answer.status_code}: {said}")


def server() -> str:
    """URL of Kubernetes' API.

    Raises:
        ServerError: this is no pod.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if not host:
        raise ServerError("KUBERNETES_SERVICE_HOST is not set: this runs in a pod only.")
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
        ServerError: it cannot be created, or is deleted meanwhile.
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
    parser = programs.parser(
        "rayjob",
        __doc__,
        "0 the RayJob has succeeded, 1 it has not, 2 an error to act on, 130 stopped",
    )
    parser.add_argument("template", help="name of the suspended RayJob")
    parser.add_argument("name", help="of the new one")
    args = parser.parse_args(argv)
    return programs.exit_status(
        "rayjob", lambda: run(RayJobs(server(), IDENTITY), args.template, args.name)
    )


if __name__ == "__main__":
    sys.exit(main())
