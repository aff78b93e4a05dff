"""Errors of S3 and boto3 as one line for people, without credentials."""

from collections.abc import Iterator
from contextlib import contextmanager

import botocore.exceptions as boto
from boto3.exceptions import Boto3Error
from botocore.parsers import ResponseParserError

from alexnet.adapters.object_store.checks import REPLACED
from alexnet.adapters.object_store.s3_client import ENDPOINT_ADVICE, endpoint
from alexnet.errors import StoreError, StoreUnavailableError

TRANSIENT = (408, 429, 500, 502, 503, 504)
"""HTTP statuses of a server that may well answer the next request."""

_NETWORK = (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError)
"""A server that does not answer, or breaks off."""


@contextmanager
def s3_errors(where: str) -> Iterator[None]:
    """Errors of boto3 as `StoreError` with `where` in front; the cause is the one that says why."""
    try:
        yield
    except Boto3Error as error:  # upload_file wraps the error that says why
        cause = error.__cause__ or error.__context__ or error
        raise _store_error(where, cause) from cause
    except (boto.BotoCoreError, boto.ClientError, ResponseParserError, OSError) as error:
        raise _store_error(where, error) from error


def _store_error(where: str, error: BaseException) -> StoreError:
    kind = StoreUnavailableError if transient(error) else StoreError
    return kind(f"{where}: {_advice(error)}")


def error_code(error: BaseException | None) -> str:
    """S3's code of the error, such as `NoSuchKey`; empty for what is no answer of a server."""
    response = error.response if isinstance(error, boto.ClientError) else {}
    return str(response.get("Error", {}).get("Code", ""))


def refuses_condition(error: BaseException | None) -> bool:
    """Whether the answer to a request with a condition is that the server does not know any."""
    response = error.response if isinstance(error, boto.ClientError) else {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == 501 or error_code(error) in ("NotImplemented", "InvalidArgument")


def retry_after_s(error: BaseException | None) -> float:
    """How long the server asks to be left alone; 0 where it does not say."""
    response = error.response if isinstance(error, boto.ClientError) else {}
    asked = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "")
    return float(asked) if asked.isdigit() else 0.0


def transient(error: BaseException | None) -> bool:
    """Whether the next request may well succeed."""
    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status in TRANSIENT or error_code(error) == "ExpiredToken"
    if isinstance(error, boto.SSLError | boto.ProxyConnectionError):
        return False  # a matter of settings
    return isinstance(error, _NETWORK)


_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE, or the role)"

_DENIED = f"access denied to this identity. Grant it access, or set {_KEYS} to another one."

_ADVICE = {
    "NoSuchBucket": "no such bucket. Create it, or correct the URL.",
    "NoSuchKey": "no such object. Correct the URL, or prepare the data.",
    "404": f"not found by that server. Correct the URL. {ENDPOINT_ADVICE}",
    "InvalidAccessKeyId": f"the server does not know this access key. Set {_KEYS}.",
    "SignatureDoesNotMatch": f"the secret is not this access key's. Set {_KEYS}.",
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "ExpiredToken": f"the credentials have expired. Renew {_KEYS}.",
    "InvalidToken": "the session token is not these credentials'. Set or unset AWS_SESSION_TOKEN.",
    "RequestTimeTooSkewed": "this machine's clock is wrong. Set it.",
    "PermanentRedirect": "the bucket is in another region. Set AWS_DEFAULT_REGION to it.",
    "AuthorizationHeaderMalformed": "the region is not the bucket's. Set AWS_DEFAULT_REGION to it.",
    "412": REPLACED,
    "PreconditionFailed": REPLACED,
}
"""By S3's error codes, or the HTTP status where an answer has none."""


def _advice(error: BaseException) -> str:
    """What is wrong and what to do, without credentials."""
    if isinstance(error, boto.ClientError):
        return _ADVICE.get(error_code(error)) or _server_advice(error)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return f"no complete AWS credentials found. Set {_KEYS}."
    if isinstance(error, boto.SSLError):
        return f"{endpoint()} does not answer over TLS as it should. {ENDPOINT_ADVICE}"
    if isinstance(error, _NETWORK):
        reason = type(error).__name__
        return f"{endpoint()} does not answer ({reason}). Check that it runs. {ENDPOINT_ADVICE}"
    if isinstance(error, ResponseParserError):
        return f"{endpoint()} answers, but not as S3. {ENDPOINT_ADVICE}"
    return f"{' '.join(str(error).split())}. Check AWS_* and the URL."


def _server_advice(error: boto.ClientError) -> str:
    code = error_code(error)
    if not transient(error):
        return f"{endpoint()} answers {code or 'an error'}. See its log."
    return f"{endpoint()} answers {code}, over and over. Try later, or with fewer readers at once."
