"""Tell Ray when AWS is about to take this spot instance away. Runs beside Ray on each spot node.

Ray reads no notice of AWS. A node that is drained lets its workers write a last checkpoint, and
counts as preempted, not as failed. The notice comes two minutes before the end: Amazon EC2 User
Guide, "Spot Instance interruption notices". Standard library and psutil only, so that it runs as a
file where nothing of this project is installed.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

SERVICE = "http://169.254.169.254"
"""Where each instance has its metadata, unless AWS_EC2_METADATA_SERVICE_ENDPOINT says otherwise."""

INTERVAL_S = 5.0
"""The guide's recommendation."""

TOKEN_TTL_S = 3600

TIMEOUT_S = 5.0

LEFT_FOR_RAY_S = 10
"""Of the two minutes; our choice: what was written must have arrived before the machine is gone."""

NOTHING = 404


class WatchError(Exception):
    """Something the user can fix."""


@dataclass(slots=True)
class Metadata:
    """The metadata service, version 2: each question carries a token."""

    service: str
    _token: str = field(default="", repr=False)

    def notice(self) -> datetime | None:
        """When the instance is taken away; None if nothing is planned.

        Raises:
            OSError: the service does not answer, or with something else.
        """
        try:
            said = json.loads(self._get("/latest/meta-data/spot/instance-action"))
            return datetime.fromisoformat(said["time"])
        except urllib.error.HTTPError as error:
            if error.code == NOTHING:
                return None
            self._token = ""  # it has run out
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise OSError(f"a notice that cannot be read: {error}") from error

    def _get(self, path: str) -> bytes:
        if not self._token:
            headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_TTL_S)}
            self._token = self._ask("PUT", "/latest/api/token", headers).decode()
        return self._ask("GET", path, {"X-aws-ec2-metadata-token": self._token})

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> bytes:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(  # noqa: S310 - http, by whoever started this
            self.service + path, headers=headers, method=method
        )
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            body: bytes = answer.read()
        return body


def node_of_this_machine() -> str:
    """Ray's id of the node.

    Raises:
        WatchError: there is none, or more than one.
    """
    found: set[str] = set()
    for process in psutil.process_iter(["cmdline"]):
        for argument in process.info["cmdline"] or ():
            if argument.startswith("--node_id="):
                found.add(argument.partition("=")[2])
    if len(found) != 1:
        raise WatchError(
            f"{len(found)} Ray nodes on this machine: there must be one. Start Ray first, or name "
            "the node with --node-id."
        )
    return found.pop()


def drain(address: str, node: str, seconds: int) -> None:
    """Tell Ray that the node will be gone.

    Raises:
        OSError: Ray does not take it.
    """
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "ray"), "drain-node", f"--address={address}"),
            *(f"--node-id={node}", "--reason=DRAIN_NODE_REASON_PREEMPTION"),
            *("--reason-message=AWS takes the spot instance away",),
            f"--deadline-remaining-seconds={seconds}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stdout.strip().splitlines() or ["no reason given"]
        raise OSError(f"ray drain-node: {lines[-1]}")


def watch(metadata: Metadata, address: str, node: str, interval_s: float) -> None:
    """Wait for the notice, and pass it on. What fails is tried again; it is said once."""
    said = ""
    while True:
        try:
            end = metadata.notice()
            if end:
                left = (end - datetime.now(UTC)).total_seconds()
                drain(address, node, max(1, int(left) - LEFT_FOR_RAY_S))
                print(f"{node}: is taken away at {end:%H:%M:%S} UTC; Ray knows", flush=True)
                return
            said = ""
        except OSError as error:
            if str(error) != said:
                said = str(error)
                print(f"spot_watch: {said}. It is tried again.", flush=True)
        time.sleep(interval_s)


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python infra/spot_watch.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit status: 0 the notice came and Ray knows, 2 an error to act on, 130 stopped.",
    )
    parser.add_argument("address", help="of Ray's head, host:port")
    parser.add_argument("--node-id", help="of the node (default: the one on this machine)")
    parser.add_argument(
        "--interval",
        type=float,
        default=INTERVAL_S,
        metavar="S",
        help="to look again (%(default)s)",
    )
    args = parser.parse_args(argv)
    service = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or SERVICE
    try:
        node = args.node_id or node_of_this_machine()
        watch(Metadata(service.rstrip("/")), args.address, node, args.interval)
    except WatchError as error:
        print(f"spot_watch: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
