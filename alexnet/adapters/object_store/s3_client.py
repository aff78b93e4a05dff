"""The S3 client of a process: the only module that makes one.

Credentials and endpoints come from boto3's own chain: `AWS_*`, profiles, instance roles.
"""

import os
import re
import threading
from typing import Any

import boto3
from botocore.config import Config

from alexnet.errors import StoreError

SILENCE_S = 10.0
"""How long a server may say nothing before an attempt is given up."""

ENDPOINT_ADVICE = "Correct AWS_ENDPOINT_URL, or unset it for AWS itself."

_clients: dict[int, Any] = {}
"""By number of attempts. boto3's are safe to share between threads, but not across a fork."""

_building = threading.Lock()
"""boto3 does not promise that two clients can be built at once."""


def forget_client() -> None:
    """Make the next request of this process build its client anew, from the environment then."""
    global _building
    _building = threading.Lock()  # a fork may have copied it held
    _clients.clear()


def renew_clients() -> None:
    """Ask boto3's chain for credentials again, because those in use have expired."""
    with _building:
        _clients.clear()


os.register_at_fork(after_in_child=forget_client)


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
            try:
                _clients[attempts] = boto3.session.Session().client("s3", config=settings)
            except ValueError as error:
                raise StoreError(
                    f"{endpoint()}: not the URL of a server. {ENDPOINT_ADVICE}"
                ) from error
        return _clients[attempts]


def endpoint() -> str:
    """Where requests go, without a user or password that it may hold."""
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    known = next(iter(_clients.values())).meta.endpoint_url if _clients else named
    return re.sub(r"//[^@/]*@", "//", str(known or "AWS"))
