"""Checks of names and contents that local and S3 stores share."""

import secrets
from pathlib import PurePosixPath

from alexnet.errors import StoreError

REPLACED = "replaced while it was read. Data sets must not change under a run: start anew."


class ShortError(StoreError):
    """The file has fewer bytes than were asked for."""


def checked_name(name: str, where: str) -> str:
    """The name itself. Names come out of data: nothing may lead out of the store.

    Raises:
        StoreError: it would.
    """
    path = PurePosixPath(name)
    inside = path.parts and not path.is_absolute() and ".." not in path.parts
    if not inside or str(path) != name or "\\" in name or "\0" in name:
        raise StoreError(f"{where}: {name!r} is not a name inside a store. Prepare the data anew.")
    return name


def whole(data: bytes, length: int | None, where: str, offset: int) -> bytes:
    """The data itself, if it is as long as was asked for.

    Raises:
        ShortError: it is shorter.
    """
    if length is not None and len(data) != length:
        raise ShortError(
            f"{where}: ends before byte {offset + length}, up to which it is needed: the file was "
            "cut. Restore it, or prepare the data anew."
        )
    return data


def other_size(where: str, num_bytes: int, expected: int) -> StoreError:
    """The error for a file that is not as long as its index says."""
    return StoreError(
        f"{where}: has {num_bytes} bytes, not {expected}: replaced or cut since the data set was "
        "written. Restore it, or prepare the data anew."
    )


def probe_name() -> str:
    """A name that no file has."""
    return f".write-probe-{secrets.token_hex(4)}"
