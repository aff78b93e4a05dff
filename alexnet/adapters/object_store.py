"""Local folders and S3 behind one interface. The only module that imports boto3.

A body that breaks half-way is read on from the byte where it broke, pinned to the object's ETag, so
that two halves are never of two different objects. S3 credentials and endpoints come from boto3's
own chain: `AWS_*`, profiles, instance roles.
"""

import contextlib
import errno
import os
import random
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import boto3
import botocore.exceptions as boto
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.parsers import ResponseParserError

from alexnet.errors import StoreError
from alexnet.store import Store

PART_BYTES = 8 * 2**20
"""Largest ranged read. A break costs at most this much again; throughput is flat above it."""

SILENCE_S = 10.0
"""How long a server may say nothing before an attempt is given up."""

DEADLINE_S = 18.0
"""After this long without success no further attempt is begun: a server that is away is named
within 30 s."""

MAX_ATTEMPTS = 50

TRANSIENT = (408, 429, 500, 502, 503, 504)
"""HTTP statuses of a server that may well answer the next request."""

_NETWORK = (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError)
"""A server that does not answer, or breaks off."""

T = TypeVar("T")

_clients: dict[int, Any] = {}
"""By number of attempts. boto3's are safe to share between threads, but not across a fork."""

_building = threading.Lock()
"""boto3 does not promise that two clients can be built at once."""


def open_store(url: str) -> Store:
    """The store at a local path or `s3://bucket/prefix`. Nothing is contacted yet.

    Raises:
        StoreError: another scheme, or no bucket.
    """
    if not url or "\0" in url:
        raise StoreError(f"{url!r}: names no place. Give a local path or s3://bucket/prefix.")
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", url):
        return LocalStore(str(_expanded(url).resolve()))
    match = re.fullmatch(r"s3://([A-Za-z0-9._-]+)(?:/(.*))?", url, re.DOTALL)
    if not match:
        raise StoreError(f"{url}: must be a local path or s3://bucket/prefix.")
    bucket, prefix = match.groups(default="")
    return S3Store(bucket, prefix.strip("/"))


def forget_client() -> None:
    """Make the next request of this process build its client anew, from the environment then."""
    global _building
    _building = threading.Lock()  # a fork may have copied it held
    _clients.clear()


os.register_at_fork(after_in_child=forget_client)


PARTIAL = ".partial"
"""Ends the name of a file that is being written."""


@dataclass(frozen=True, slots=True)
class LocalStore:
    """A folder on this machine, or on a file system that all nodes mount."""

    url: str
    """Absolute path."""

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Store.read`."""
        path = self._path(name)
        with _local_errors(path), path.open("rb") as file:
            file.seek(offset)
            data = file.read() if length is None else file.read(length)
        return _whole(data, length, str(path), offset)

    def write(self, name: str, data: bytes) -> None:
        """See `Store.write`."""
        self._put(name, lambda partial: partial.write_bytes(data))

    def upload(self, path: Path, name: str) -> None:
        """See `Store.upload`."""
        with _local_errors(path):
            path.open("rb").close()
        self._put(name, lambda partial: shutil.copyfile(path, partial))

    def exists(self, name: str) -> bool:
        """See `Store.exists`."""
        path = self._path(name)
        with _local_errors(path):
            return path.is_file()

    def list(self) -> list[str]:
        """See `Store.list`."""
        root = Path(self.url)
        with _local_errors(root):
            if root.exists() and not root.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "", self.url)
            files = [path for path in root.rglob("*") if path.is_file()]
        names = [path.relative_to(root).as_posix() for path in files]
        return sorted(name for name in names if not name.endswith(PARTIAL))

    def check_writable(self) -> None:
        """See `Store.check_writable`."""
        probe = self._path(_probe_name())
        with _local_errors(Path(self.url)):
            probe.parent.mkdir(parents=True, exist_ok=True)
            try:
                probe.write_bytes(b"probe")
            finally:
                probe.unlink(missing_ok=True)

    def _put(self, name: str, fill: Callable[[Path], object]) -> None:
        path = self._path(name)
        partial = path.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
        with _local_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                fill(partial)
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return Path(self.url) / _checked(name, self.url)


@dataclass(frozen=True, slots=True)
class S3Store:
    """Objects under a prefix of a bucket."""

    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Store.read`."""
        where = self._where(name)
        body = _Body(where, self.bucket, self._key(name), offset, length)
        while not body.complete:
            _persistently(where, body.read_part, body.progress)
        return _whole(bytes(body.data), length, where, offset)

    def write(self, name: str, data: bytes) -> None:
        """See `Store.write`."""
        key = self._key(name)
        _persistently(
            self._where(name),
            lambda: _client().put_object(Bucket=self.bucket, Key=key, Body=data),
        )

    def upload(self, path: Path, name: str) -> None:
        """See `Store.upload`."""
        key = self._key(name)
        with _local_errors(path):
            path.open("rb").close()
        # Its parts are retried inside, for a file should not start again because one part failed.
        with _s3_errors(self._where(name)):
            _client(attempts=2).upload_file(str(path), self.bucket, key)

    def exists(self, name: str) -> bool:
        """See `Store.exists`."""
        try:
            # Not HEAD: that has no body, which tells a missing object from a missing bucket.
            self.read(name, 0, 1)
        except StoreError as error:
            if _code(error.__cause__) == "NoSuchKey":
                return False
            if not isinstance(error, _ShortError):
                raise
        return True

    def list(self) -> list[str]:
        """See `Store.list`."""
        folder = f"{self.prefix}/" if self.prefix else ""
        names: list[str] = []
        query: dict[str, str] = {"Bucket": self.bucket, "Prefix": folder}
        while True:
            page = _persistently(self.url, lambda: _client().list_objects_v2(**query))
            keys = [entry["Key"] for entry in page.get("Contents", ())]
            names += [key.removeprefix(folder) for key in keys if not key.endswith("/")]
            if not page.get("IsTruncated"):
                return sorted(names)
            query["ContinuationToken"] = page["NextContinuationToken"]

    def check_writable(self) -> None:
        """See `Store.check_writable`."""
        probe = {"Bucket": self.bucket, "Key": self._key(_probe_name())}
        try:
            # Some servers make a bucket that is written to: see first whether it is there.
            _persistently(self.url, lambda: _client().get_object(**probe))
        except StoreError as error:
            if _code(error.__cause__) not in ("NoSuchKey", "AccessDenied", "403"):
                raise
        _persistently(self.url, lambda: _client().put_object(**probe, Body=b"probe"))
        with contextlib.suppress(boto.BotoCoreError, boto.ClientError):  # may write, not delete
            _client().delete_object(**probe)

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{_checked(name, self.url)}".lstrip("/")

    def _where(self, name: str) -> str:
        return f"{self.url}/{name}"


class _ShortError(StoreError):
    """The file has fewer bytes than were asked for."""


class _Body:
    """The bytes of an object that have been read so far, and where to go on."""

    def __init__(self, where: str, bucket: str, key: str, offset: int, length: int | None) -> None:
        self.where, self.bucket, self.key, self.offset = where, bucket, key, offset
        self.end = None if length is None else offset + length
        self.etag: str | None = None
        self.data = bytearray()

    @property
    def complete(self) -> bool:
        return self.end is not None and self.progress() >= self.end

    def progress(self) -> int:
        """The next byte to read."""
        return self.offset + len(self.data)

    def read_part(self) -> None:
        """Read on; what came before a break is kept."""
        begin = self.progress()
        last = begin + PART_BYTES if self.end is None else min(self.end, begin + PART_BYTES)
        query = {"Bucket": self.bucket, "Key": self.key, "Range": f"bytes={begin}-{last - 1}"}
        if self.etag:
            query["IfMatch"] = self.etag
        try:
            answer = _client().get_object(**query)
        except boto.ClientError as error:
            if _code(error) not in ("InvalidRange", "416"):
                raise
            self.end = begin  # nothing from here on: `_whole` judges whether that is enough
            return
        size = answer.get("ContentRange", "").rpartition("/")[2]
        if not size.isdigit() or "ETag" not in answer:
            raise StoreError(f"{self.where}: {_endpoint()} answers, but not as S3. {_ENDPOINT}")
        self.etag = answer["ETag"]
        self.end = int(size) if self.end is None else min(self.end, int(size))
        for piece in answer["Body"].iter_chunks(2**18):
            self.data += piece


def _persistently(where: str, attempt: Callable[[], T], progress: Callable[[], int] = int) -> T:
    """What `attempt` returns, tried again after a break until `DEADLINE_S` pass without progress.

    Args:
        where: begins the message of a failure.
        attempt: may be repeated.
        progress: rises with what attempts achieve though they fail.
    """
    begun, reached = time.monotonic(), progress()
    for number in range(MAX_ATTEMPTS):
        try:
            with _s3_errors(where):
                return attempt()
        except StoreError as error:
            if progress() > reached:
                begun, reached = time.monotonic(), progress()
            pause = min(4.0, 0.1 * 2**number) * random.uniform(0.5, 1)  # noqa: S311 - jitter
            late = time.monotonic() + pause > begun + DEADLINE_S
            if late or number + 1 == MAX_ATTEMPTS or not _transient(error.__cause__):
                raise
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _client(attempts: int = 1) -> Any:
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
                raise StoreError(f"{_endpoint()}: not the URL of a server. {_ENDPOINT}") from error
        return _clients[attempts]


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise StoreError(f"{path}: no such home directory. Write the path out.") from error


def _checked(name: str, where: str) -> str:
    """Names come out of data: nothing may lead out of the store."""
    path = PurePosixPath(name)
    inside = path.parts and not path.is_absolute() and ".." not in path.parts
    if not inside or str(path) != name or "\\" in name or "\0" in name:
        raise StoreError(f"{where}: {name!r} is not a name inside a store. Prepare the data anew.")
    return name


def _whole(data: bytes, length: int | None, where: str, offset: int) -> bytes:
    if length is not None and len(data) != length:
        raise _ShortError(
            f"{where}: ends before byte {offset + length}, up to which it is needed: the file was "
            "cut. Restore it, or prepare the data anew."
        )
    return data


def _probe_name() -> str:
    return f".write-probe-{secrets.token_hex(4)}"


@contextmanager
def _local_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = _LOCAL_ADVICE.get(error.errno or 0)
        found = f"{error.strerror or error}. Check the path."
        raise StoreError(f"{path}: {advice or found}") from error


@contextmanager
def _s3_errors(where: str) -> Iterator[None]:
    try:
        yield
    except Boto3Error as error:  # upload_file wraps the error that says why
        cause = error.__cause__ or error.__context__ or error
        raise StoreError(f"{where}: {_advice(cause)}") from cause
    except (boto.BotoCoreError, boto.ClientError, ResponseParserError, OSError) as error:
        raise StoreError(f"{where}: {_advice(error)}") from error


def _code(error: BaseException | None) -> str:
    response = error.response if isinstance(error, boto.ClientError) else {}
    return str(response.get("Error", {}).get("Code", ""))


def _transient(error: BaseException | None) -> bool:
    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status in TRANSIENT
    if isinstance(error, boto.SSLError | boto.ProxyConnectionError):
        return False  # a matter of settings
    return isinstance(error, _NETWORK)


def _endpoint() -> str:
    """Where requests go, without a user or password that it may hold."""
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    known = next(iter(_clients.values())).meta.endpoint_url if _clients else named
    return re.sub(r"//[^@/]*@", "//", str(known or "AWS"))


_ENDPOINT = "Correct AWS_ENDPOINT_URL, or unset it for AWS itself."
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE, or the role)"

_LOCAL_ADVICE = {
    errno.ENOENT: "no such file or folder. Correct the path, or prepare the data.",
    errno.ENOTDIR: "a part of this path is a file, not a folder. Name another path.",
    errno.EEXIST: "a part of this path is a file, not a folder. Name another path.",
    errno.EISDIR: "is a folder, a file is needed. Name another path.",
    errno.EACCES: "permission denied. Change its owner or mode, or name another path.",
    errno.EPERM: "permission denied. Change its owner or mode, or name another path.",
    errno.EROFS: "the file system is read-only. Name another path.",
    errno.ENOSPC: "no space left on the disk. Free some, or name another path.",
    errno.EDQUOT: "the disk quota is used up. Free some, or name another path.",
    errno.EFBIG: "larger than a file may be here. Raise the limit, or name another path.",
}

_DENIED = f"access denied to this identity. Grant it access, or set {_KEYS} to another one."

_ADVICE = {
    "NoSuchBucket": "no such bucket. Create it, or correct the URL.",
    "NoSuchKey": "no such object. Correct the URL, or prepare the data.",
    "404": f"not found by that server. Correct the URL. {_ENDPOINT}",
    "InvalidAccessKeyId": f"the server does not know this access key. Set {_KEYS}.",
    "SignatureDoesNotMatch": f"the secret is not this access key's. Set {_KEYS}.",
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "ExpiredToken": f"the credentials have expired. Renew {_KEYS}.",
    "InvalidToken": "the session token is not these credentials'. Set or unset AWS_SESSION_TOKEN.",
    "RequestTimeTooSkewed": "this machine's clock is wrong. Set it.",
    "PermanentRedirect": "the bucket is in another region. Set AWS_DEFAULT_REGION to it.",
    "AuthorizationHeaderMalformed": "the region is not the bucket's. Set AWS_DEFAULT_REGION to it.",
    "412": "replaced while it was read. Data sets must not change under a run: start anew.",
    "PreconditionFailed": "replaced while it was read. Data sets must not change under a run: "
    "start anew.",
}
"""By S3's error codes, or the HTTP status where an answer has none."""


def _advice(error: BaseException) -> str:
    """What is wrong and what to do, without credentials."""
    if isinstance(error, boto.ClientError):
        return _ADVICE.get(_code(error)) or _server_advice(error)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return f"no complete AWS credentials found. Set {_KEYS}."
    if isinstance(error, boto.SSLError):
        return f"{_endpoint()} does not answer over TLS as it should. {_ENDPOINT}"
    if isinstance(error, _NETWORK):
        reason = type(error).__name__
        return f"{_endpoint()} does not answer ({reason}). Check that it runs. {_ENDPOINT}"
    if isinstance(error, ResponseParserError):
        return f"{_endpoint()} answers, but not as S3. {_ENDPOINT}"
    return f"{' '.join(str(error).split())}. Check AWS_* and the URL."


def _server_advice(error: boto.ClientError) -> str:
    code = _code(error)
    if not _transient(error):
        return f"{_endpoint()} answers {code or 'an error'}. See its log."
    return f"{_endpoint()} answers {code}, over and over. Try later, or with fewer readers at once."
