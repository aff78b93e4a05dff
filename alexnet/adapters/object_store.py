"""Local folders and S3 behind one interface. The only module that imports boto3.

A body that breaks half-way is read on from the byte where it broke, pinned to the object's ETag, so
that two halves are never of two different objects. S3 credentials and endpoints come from boto3's
own chain: `AWS_*`, profiles, instance roles.
"""

import contextlib
import os
import random
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import boto3
import botocore.exceptions as boto
from botocore.config import Config

from alexnet.errors import StoreError
from alexnet.store import Store

PART_BYTES = 8 * 2**20
"""Largest ranged read. A break costs at most this much again; throughput is flat above it."""

DEADLINE_S = 20.0
"""After this long without success a read is given up."""

CLIENT = Config(
    connect_timeout=3,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=32,
    # Many S3-compatible servers send no checksum, or one of the whole object with a part of it.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)

_clients: dict[int, Any] = {}
"""One client a process: boto3's are safe to share between threads, not across a fork."""


def open_store(url: str) -> Store:
    """The store at a local path or `s3://bucket/prefix`. Nothing is contacted yet.

    Raises:
        StoreError: another scheme, or no bucket.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return LocalStore(str(Path(url).expanduser().resolve()))
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise StoreError(f"{url}: must be a local path or s3://bucket/prefix.")
    return S3Store(bucket, prefix.strip("/"))


def forget_client() -> None:
    """Make the next read of this process build its client anew, from the environment then."""
    _clients.clear()


@dataclass(frozen=True, slots=True)
class LocalStore:
    """A folder on this machine, or on a file system that all nodes mount."""

    url: str
    """Absolute path."""

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Store.read`."""
        path = self._path(name)
        with self._mended(path), path.open("rb") as file:
            file.seek(offset)
            data = file.read() if length is None else file.read(length)
        return _whole(data, length, str(path), offset)

    def write(self, name: str, data: bytes) -> None:
        """See `Store.write`."""
        self._put(name, lambda partial: partial.write_bytes(data))

    def upload(self, path: Path, name: str) -> None:
        """See `Store.upload`."""
        self._put(name, lambda partial: shutil.copyfile(path, partial))

    def exists(self, name: str) -> bool:
        """See `Store.exists`."""
        path = self._path(name)
        with self._mended(path):
            return path.exists()

    def check_writable(self) -> None:
        """See `Store.check_writable`."""
        probe = _probe_name()
        self.write(probe, b"")
        self._path(probe).unlink()

    def _put(self, name: str, fill: Callable[[Path], object]) -> None:
        path = self._path(name)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        with self._mended(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                fill(partial)
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return Path(self.url) / _checked(name)

    @contextmanager
    def _mended(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{path}: {error.strerror or error}. Check the path, its permissions and the space "
                "left."
            ) from error


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
        end = None if length is None else offset + length
        body = bytearray()
        etag: str | None = None
        while end is None or offset + len(body) < end:
            begin = offset + len(body)
            last = min(end or begin + PART_BYTES, begin + PART_BYTES) - 1
            part, etag, size = self._part(name, begin, last, etag)
            body += part
            end = min(end, size) if end else size
        return _whole(bytes(body), length, f"{self.url}/{name}", offset)

    def write(self, name: str, data: bytes) -> None:
        """See `Store.write`."""
        with self._mended(name):
            _client().put_object(Bucket=self.bucket, Key=self._key(name), Body=data)

    def upload(self, path: Path, name: str) -> None:
        """See `Store.upload`."""
        with self._mended(name):
            _client().upload_file(str(path), self.bucket, self._key(name))

    def exists(self, name: str) -> bool:
        """See `Store.exists`."""
        try:
            with self._mended(name):
                _client().head_object(Bucket=self.bucket, Key=self._key(name))
        except StoreError as error:
            if _status(error.__cause__) != 404:
                raise
            # HEAD has no body to tell a missing object from a missing bucket.
            with self._mended(name):
                _client().head_bucket(Bucket=self.bucket)
            return False
        return True

    def check_writable(self) -> None:
        """See `Store.check_writable`."""
        probe = _probe_name()
        self.write(probe, b"")
        with contextlib.suppress(boto.BotoCoreError, boto.ClientError):  # may write, not delete
            _client().delete_object(Bucket=self.bucket, Key=self._key(probe))

    def _part(
        self, name: str, begin: int, last: int, etag: str | None
    ) -> tuple[bytes, str, int]:
        """Bytes `begin` to `last`, the object's ETag and its size; tried until the deadline."""
        deadline = time.monotonic() + DEADLINE_S
        got = bytearray()
        for attempt in range(100):
            try:
                with self._mended(name):
                    pinned = {"IfMatch": etag} if etag else {}
                    answer = _client().get_object(
                        Bucket=self.bucket,
                        Key=self._key(name),
                        Range=f"bytes={begin + len(got)}-{last}",
                        **pinned,
                    )
                    etag = str(answer["ETag"])
                    size = int(answer["ContentRange"].rpartition("/")[2])
                    for piece in answer["Body"].iter_chunks(2**20):
                        got += piece
            except StoreError as error:
                if not _transient(error.__cause__) or time.monotonic() > deadline:
                    raise
                time.sleep(min(5.0, 0.1 * 2**attempt) * random.uniform(0.5, 1))  # noqa: S311
                continue
            return bytes(got), etag, size
        raise StoreError(f"{self.url}/{name}: broke off 100 times. Check the network.")

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{_checked(name)}".lstrip("/")

    @contextmanager
    def _mended(self, name: str) -> Iterator[None]:
        where = f"{self.url}/{name}"
        try:
            yield
        except (boto.BotoCoreError, boto.ClientError, boto3.exceptions.Boto3Error) as error:
            raise StoreError(f"{where}: {_advice(error, self.bucket)}") from error
        except OSError as error:
            raise StoreError(f"{where}: {error}. Check the network and the disk.") from error


def _client() -> Any:
    pid = os.getpid()
    if pid not in _clients:
        _clients[pid] = boto3.client("s3", config=CLIENT)
    return _clients[pid]


def _checked(name: str) -> str:
    """Names come out of data: nothing may lead out of the store."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name:
        raise StoreError(f"{name!r}: not a name inside a store. Prepare the data anew.")
    return name


def _whole(data: bytes, length: int | None, where: str, offset: int) -> bytes:
    if length is not None and len(data) != length:
        raise StoreError(
            f"{where}: ends after byte {offset + len(data)}, {length} from {offset} were asked for: "
            "the file is cut. Restore it, or prepare the data anew."
        )
    return data


def _probe_name() -> str:
    return f".write-probe-{secrets.token_hex(4)}"


def _status(error: BaseException | None) -> int:
    response = getattr(error, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _transient(error: BaseException | None) -> bool:
    if isinstance(error, boto.ClientError):
        return _status(error) in (429, 500, 502, 503, 504)
    return isinstance(error, boto.HTTPClientError | boto.ResponseStreamingError | OSError)


_ADVICE = {
    "NoSuchBucket": "no such bucket. Create it, or correct the URL.",
    "NoSuchKey": "no such object. Correct the URL, or prepare the data.",
    "404": "no such bucket or object. Create it, or correct the URL.",
    "InvalidAccessKeyId": "the server does not know the access key. Set AWS_ACCESS_KEY_ID.",
    "SignatureDoesNotMatch": "the secret is not the access key's. Set AWS_SECRET_ACCESS_KEY.",
    "AccessDenied": "access denied. Give this identity permission, or set AWS_* to another one.",
    "403": "access denied. Give this identity permission, or set AWS_* to another one.",
    "412": "replaced while it was read. Data sets must not change under a run; start anew.",
    "PreconditionFailed": "replaced while it was read. Data sets must not change; start anew.",
    "InvalidRange": "ends before the bytes that were asked for: the object is cut. Restore it.",
}


def _advice(error: Exception, bucket: str) -> str:
    """What is wrong and what to do, without credentials."""
    if isinstance(error, boto.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        return _ADVICE.get(code, f"the server answers {code}. See its log.")
    cause = error.__cause__ or error.__context__
    if isinstance(error, boto3.exceptions.Boto3Error) and isinstance(cause, boto.ClientError):
        return _advice(cause, bucket)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return "no AWS credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role."
    if isinstance(error, boto.HTTPClientError | boto.ResponseStreamingError):
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return (
            f"{endpoint or 'AWS'} does not answer ({type(error).__name__}). Start the server, or "
            "correct AWS_ENDPOINT_URL."
        )
    return f"{str(error).splitlines()[0]}. Check AWS_* and the URL."
