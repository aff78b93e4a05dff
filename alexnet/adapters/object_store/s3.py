"""Objects in S3, or in a server that speaks its protocol.

A body that breaks half-way is read on from the byte where it broke, pinned to the object's ETag, so
that two halves are never of two different objects.
"""

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import botocore.exceptions as boto

from alexnet.adapters.object_store.checks import (
    REPLACED,
    ShortError,
    checked_name,
    leads_out,
    other_size,
    probe_name,
    whole,
)
from alexnet.adapters.object_store.local import local_errors
from alexnet.adapters.object_store.s3_client import ENDPOINT_ADVICE, client, endpoint, renew_clients
from alexnet.adapters.object_store.s3_errors import (
    error_code,
    refuses_condition,
    retry_after_s,
    s3_errors,
)
from alexnet.errors import StoreError, StoreUnavailableError
from alexnet.storage.store import CREATE, EMPTY, FOLDER_NAME, ODD_NAME, WITHOUT_CREATE, Found, Unmet
from alexnet.telemetry import s3_usage

PART_BYTES = 8 * 2**20
"""Largest ranged read. A break costs at most this much again; throughput is flat above it."""

DEADLINE_S = 18.0
"""After this long without success no further attempt is started, if the caller has no other time: a
server that is away is named within 30 s."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 4.0
"""Between attempts; each pause is twice the one before, less a random part of up to a half."""

_THERE = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
"""What S3 answers when the object is there, or just comes to be."""

_REPLACE = "a write only over a known version (PUT with If-Match)"
_READ = "a read of a known version only (GET with If-Match)"
IGNORED = "ignored"
_NO_ETAG = f'"{"0" * 32}"'
"""That no object has."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class S3Store:
    """Objects under a prefix of a bucket."""

    bucket: str
    prefix: str
    deadline_s: float = DEADLINE_S

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Store.read`."""
        return _read(self.body(name, offset, length, _Pin()))

    def num_bytes(self, name: str) -> int:
        """See `Store.num_bytes`."""
        return self._found(name).found_bytes

    def version(self, name: str) -> str:
        """See `Store.version`."""
        return self._found(name).etag or ""

    def open(self, name: str, *, num_bytes: int, sha256: bytes) -> "S3File":
        """See `Store.open`."""
        del sha256
        return S3File(self, name, num_bytes)

    def write(self, name: str, data: bytes) -> None:
        """See `Store.write`."""
        key = self._key(name)
        self._persistently(
            self._where(name), lambda: client().put_object(Bucket=self.bucket, Key=key, Body=data)
        )

    def create(self, name: str, data: bytes) -> bool:
        """See `Store.create`."""
        place = {"Bucket": self.bucket, "Key": self._key(name)}
        try:
            self._persistently(
                self._where(name), lambda: client().put_object(**place, Body=data, IfNoneMatch="*")
            )
        except StoreError as error:
            if refuses_condition(error.__cause__):
                raise StoreError(
                    f"{self._where(name)}: {endpoint()} refuses If-None-Match "
                    f"({error_code(error.__cause__)}), and has no conditional writes, which leases "
                    "need. Use a store that has them."
                ) from error.__cause__
            if error_code(error.__cause__) not in _THERE:
                raise
            # An attempt whose answer was lost may have put it there.
            return self.read(name) == data
        return True

    def upload(self, path: Path, name: str) -> None:
        """See `Store.upload`."""
        key = self._key(name)
        with local_errors(path):
            path.open("rb").close()
        # Its parts are retried inside, for a file should not start again because one part failed.
        with s3_errors(self._where(name)):
            client(attempts=2).upload_file(str(path), self.bucket, key)

    def exists(self, name: str) -> bool:
        """See `Store.exists`."""
        try:
            # Not HEAD: that has no body, which tells a missing object from a missing bucket.
            self.read(name, 0, 1)
        except StoreError as error:
            if error_code(error.__cause__) == "NoSuchKey":
                return False
            if not isinstance(error, ShortError):
                raise
        return True

    def list(self) -> list[str]:
        """See `Store.list`."""
        return [found.name for found in self.scan() if not found.problem]

    def scan(self) -> Sequence[Found]:
        """See `Store.scan`."""
        folder = f"{self.prefix}/" if self.prefix else ""
        objects: dict[str, tuple[int, str]] = {}
        query: dict[str, str] = {"Bucket": self.bucket, "Prefix": folder}
        while True:
            page = self._persistently(self.url, lambda: client().list_objects_v2(**query))
            for entry in page.get("Contents", ()):
                objects[entry["Key"].removeprefix(folder)] = entry["Size"], entry["ETag"]
            if not page.get("IsTruncated"):
                return list(scanned(objects))
            query["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        key = self._key(name)
        self._persistently(
            self._where(name), lambda: client().delete_object(Bucket=self.bucket, Key=key)
        )

    def check_writable(self) -> None:
        """See `Store.check_writable`."""
        probe = {"Bucket": self.bucket, "Key": self._key(probe_name())}
        try:
            # Some servers make a bucket that is written to: see first whether it is there.
            self._persistently(self.url, lambda: client().get_object(**probe))
        except StoreError as error:
            if error_code(error.__cause__) not in ("NoSuchKey", "AccessDenied", "403"):
                raise
        self._persistently(self.url, lambda: client().put_object(**probe, Body=b"probe"))
        self._persistently(self.url, lambda: client().delete_object(**probe))

    def unmet_conditions(self) -> tuple[Unmet, ...]:
        """See `Store.unmet_conditions`."""
        place = {"Bucket": self.bucket, "Key": self._key(probe_name())}

        def put(**condition: str) -> str:
            return self._instead(lambda: client().put_object(**place, Body=b"probe", **condition))

        def get(**condition: str) -> str:
            return self._instead(lambda: client().get_object(**place, **condition))

        try:
            if put(IfNoneMatch="*") not in ("", IGNORED):
                put()  # what follows needs it there
            create, replace = put(IfNoneMatch="*"), put(IfMatch=_NO_ETAG)
            read = get(IfMatch=_NO_ETAG)
        finally:
            self._persistently(self.url, lambda: client().delete_object(**place))
        found = (
            Unmet(CREATE, create, WITHOUT_CREATE),
            Unmet(_REPLACE, replace, ""),
            # What is read in spite of the condition is held to its ETag here, see `_Pin`.
            Unmet(_READ, read, "" if read == IGNORED else "reads of many parts need it"),
        )
        return tuple(each._replace(how=f"{each.how} by {endpoint()}") for each in found if each.how)

    def _instead(self, attempt: Callable[[], object]) -> str:
        """What the server does with a request whose condition is not met; empty: turns it away."""
        try:
            self._persistently(self.url, attempt)
        except StoreError as error:
            if error_code(error.__cause__) in _THERE:
                return ""
            if not refuses_condition(error.__cause__):
                raise
            return f"refused as {error_code(error.__cause__)}"
        return IGNORED

    def _persistently(self, where: str, attempt: Callable[[], T]) -> T:
        return persistently(where, attempt, self.deadline_s)

    def _found(self, name: str) -> "_Pin":
        """What is there now."""
        pin = _Pin()
        # Not HEAD: that has no body, which tells a missing object from a missing bucket.
        _read(self.body(name, 0, 1, pin), exact=False)
        return pin

    def body(self, name: str, offset: int, length: int | None, pin: "_Pin") -> "_Body":
        """Part of an object, to be read."""
        return _Body(self, name, offset, length, pin)

    def _key(self, name: str) -> str:
        folder = f"{self.prefix}/" if self.prefix else ""
        return f"{folder}{checked_name(name, self.url)}"

    def _where(self, name: str) -> str:
        return f"{self.url}/{name}"


def scanned(objects: dict[str, tuple[int, str]]) -> Iterator[Found]:
    """Objects by name, each with size and ETag, as `Store.scan` has them.

    An object without bytes whose name ends in `/` is how consoles make a folder.
    """
    names = sorted(objects)
    for name, following in zip(names, [*names, ""][1:], strict=True):
        if name and not name.endswith("/"):
            yield Found(name, ODD_NAME if leads_out(name) else "", objects[name][1])
        elif objects[name][0]:
            yield Found(name or "/", FOLDER_NAME)
        elif name and not following.startswith(name):
            yield Found(name.rstrip("/"), EMPTY)


class S3File:
    """See `alexnet.storage.store.File`."""

    def __init__(self, store: S3Store, name: str, num_bytes: int) -> None:
        self._store, self._name, self._pin = store, name, _Pin(num_bytes)

    def read(self, offset: int, length: int) -> bytes:
        """See `File.read`."""
        return _read(self._store.body(self._name, offset, length, self._pin))


@dataclass(slots=True)
class _Pin:
    """Which version of an object is read."""

    num_bytes: int | None = None
    """That it must have; None: whatever it has."""
    etag: str | None = None
    """None until the first answer."""
    found_bytes: int = 0
    """That the version of the first answer has."""

    def check(self, where: str, num_bytes: int, etag: str) -> None:
        """Pin the version of the first answer, and hold all others to it."""
        if self.num_bytes is not None and self.num_bytes != num_bytes:
            raise other_size(where, num_bytes, self.num_bytes)
        if self.etag not in (None, etag):
            raise StoreError(f"{where}: {REPLACED}")
        self.etag, self.found_bytes = etag, num_bytes


class _Body:
    """The bytes of an object that have been read so far, and where to continue."""

    def __init__(
        self, store: S3Store, name: str, offset: int, length: int | None, pin: _Pin
    ) -> None:
        self.where, self.deadline_s = f"{store.url}/{name}", store.deadline_s
        self.bucket, self.key = store.bucket, store._key(name)
        self.offset, self.length, self.pin = offset, length, pin
        self.end = None if length is None else offset + length
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
        if self.pin.etag:
            query["IfMatch"] = self.pin.etag
        try:
            answer = client().get_object(**query)
        except boto.ClientError as error:
            if error_code(error) not in ("InvalidRange", "416"):
                raise
            self.end = begin  # nothing from here on: `whole` judges whether that is enough
            return
        size = answer.get("ContentRange", "").rpartition("/")[2]
        if not size.isdigit() or "ETag" not in answer:
            raise StoreError(
                f"{self.where}: {endpoint()} answers, but not as S3. {ENDPOINT_ADVICE}"
            )
        self.pin.check(self.where, int(size), answer["ETag"])
        self.end = int(size) if self.end is None else min(self.end, int(size))
        try:
            for piece in answer["Body"].iter_chunks(2**18):
                self.data += piece
        except Exception:  # of any kind: it is raised again
            s3_usage.OF_PROCESS.add("get", "errors")
            raise
        finally:
            s3_usage.OF_PROCESS.add("get", "bytes", self.progress() - begin)


def _read(body: _Body, *, exact: bool = True) -> bytes:
    while not body.complete:
        persistently(body.where, body.read_part, body.deadline_s, body.progress)
    if not exact:
        return bytes(body.data)
    return whole(bytes(body.data), body.length, body.where, body.offset)


def persistently(
    where: str,
    attempt: Callable[[], T],
    deadline_s: float = DEADLINE_S,
    progress: Callable[[], int] = int,
) -> T:
    """What `attempt` returns, tried again after a break until so long passes without progress.

    Args:
        where: begins the message of a failure.
        attempt: may be repeated.
        deadline_s: after which no attempt is started.
        progress: rises with what attempts achieve though they fail.
    """
    begun, reached = time.monotonic(), progress()
    for number in itertools.count():
        try:
            with s3_errors(where):
                return attempt()
        except StoreError as error:
            if progress() > reached:
                begun, reached = time.monotonic(), progress()
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(number, 10))
            pause *= random.uniform(0.5, 1)  # noqa: S311 - jitter
            pause = max(pause, retry_after_s(error.__cause__))
            late = time.monotonic() + pause > begun + deadline_s
            if late or not isinstance(error, StoreUnavailableError):
                raise
            if error_code(error.__cause__) == "ExpiredToken":
                renew_clients()
            time.sleep(pause)
    raise AssertionError("the loop ends by returning or raising")
