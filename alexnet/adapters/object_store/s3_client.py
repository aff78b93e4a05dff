"""The S3 client of a process: the only module that makes one.

Credentials and endpoints come from boto3's own chain: `AWS_*`, profiles, instance roles.
"""

import os
import re
import threading
from functools import cache
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from alexnet.errors import StoreError
from alexnet.telemetry import s3_usage
from alexnet.telemetry.s3_usage import Kind

SILENCE_S = 10.0
"""How long a server may say nothing before an attempt is given up."""

ENDPOINT_ADVICE = "Correct AWS_ENDPOINT_URL, or unset it for AWS itself."

_clients: dict[int, Any] = {}
"""By number of attempts. boto3's are safe to share between threads, but not across a fork."""

_building = threading.Lock()
"""boto3 does not promise that two clients can be built at once."""


def forget_client() -> None:
    """Make the next request of this process build its client again, from the environment then."""
    global _building
    _building = threading.Lock()  # a fork may have copied it held
    _clients.clear()


def renew_clients() -> None:
    """Ask boto3's chain for credentials again, because those in use have expired."""
    with _building:
        _clients.clear()


os.register_at_fork(after_in_child=forget_client)


@cache
def _loader() -> Any:
    """It keeps what it has read of S3's API, which takes longer than all else of a client."""
    return botocore.session.Session().get_component("data_loader")


def client(attempts: int = 1) -> Any:
    """The S3 client of this process, whose requests are tried so often."""
    with _building:
        if attempts not in _clients:
            settings = Config(
                connect_timeout=3,
                read_timeout=SILENCE_S,
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=32,
                # Many S3-compatible servers send no checksum, or one of the whole object with a
                # part of it.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            )
            session = botocore.session.Session()
            session.register_component("data_loader", _loader())
            try:
                made = boto3.session.Session(botocore_session=session).client("s3", config=settings)
            except ValueError as error:
                raise StoreError(
                    f"{endpoint()}: not the URL of a server. {ENDPOINT_ADVICE}"
                ) from error
            made.meta.events.register("before-send.s3.PutObject", _count_sent)
            made.meta.events.register("before-send.s3.UploadPart", _count_sent)
            made.meta.events.register("response-received.s3", _count_answer)
            _clients[attempts] = made
        return _clients[attempts]


EXPECTED = (304, 404, 409, 412, 416)
"""HTTP statuses that are answers to a question: is it there, is it still the same?"""


def kind_of(operation: str) -> Kind:
    """How a request is counted; Amazon prices all of a kind alike."""
    if operation.startswith(("Get", "Head")):
        return "get"
    if operation.startswith("List"):
        return "list"
    return "delete" if operation.startswith(("Delete", "Abort")) else "put"


def _count_sent(request: Any, **_: Any) -> None:
    s3_usage.OF_PROCESS.add("put", "bytes", int(request.headers.get("Content-Length", 0)))


def _count_answer(event_name: str, response_dict: Any, exception: Any, **_: Any) -> None:
    """Count an attempt; boto3 calls it for each, also for those that it makes again by itself."""
    kind = kind_of(event_name.rpartition(".")[2])
    s3_usage.OF_PROCESS.add(kind, "requests")
    status = response_dict["status_code"] if response_dict else 0
    if exception is not None or (status >= 400 and status not in EXPECTED):
        s3_usage.OF_PROCESS.add(kind, "errors")


def endpoint() -> str:
    """Where requests go, without a user or password that it may hold."""
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    known = next(iter(_clients.values())).meta.endpoint_url if _clients else named
    return re.sub(r"//[^@/]*@", "//", str(known or "AWS"))
