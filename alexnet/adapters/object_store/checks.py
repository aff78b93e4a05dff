"""Checks of names and contents that local and S3 stores share."""

import secrets

from alexnet.errors import StoreError

REPLACED = "replaced while it was read. Data sets must not change under a run: start anew."


class ShortError(StoreError):
    """The file has fewer bytes than were asked for."""


def leads_out(name: str) -> bool:
    """Whether a name is none inside a store. Names come out of data."""
    return not name or "\0" in name or bool({".", ".."} & set(name.split("/")))


def checked_name(name: str, where: str, *, absolute: bool = True) -> str:
    """The name itself.

    Args:
        name: of a file.
        where: of the store.
        absolute: whether a leading `/` is a part of it like any other, as in S3.

    Raises:
        StoreError: it would lead out of the store.
    """
    if leads_out(name) or (name.startswith("/") and not absolute):
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
