"""Local folders and S3 behind one interface, `alexnet.storage.store.Store`."""

import re

from alexnet.adapters.object_store.local import LocalStore, expanded
from alexnet.adapters.object_store.shard_cache import CachedStore
from alexnet.errors import StoreError
from alexnet.storage.store import Store

__all__ = ["CachedStore", "LocalStore", "open_store"]


def open_store(url: str, timeout_s: float | None = None) -> Store:
    """The store at a local path or `s3://bucket/prefix`. Nothing is contacted yet.

    Args:
        url: of the folder.
        timeout_s: how long a server that does not answer is waited for; None: for commands, which
            a person waits for.

    Raises:
        StoreError: another scheme, or no bucket.
    """
    if not url or "\0" in url:
        raise StoreError(f"{url!r}: names no place. Give a local path or s3://bucket/prefix.")
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", url):
        return LocalStore(str(expanded(url).resolve()))
    match = re.fullmatch(r"s3://([A-Za-z0-9._-]+)(?:/(.*))?", url, re.DOTALL)
    if not match:
        raise StoreError(f"{url}: must be a local path or s3://bucket/prefix.")
    # boto3 takes 17 MB and a tenth of a second, which a run on local files need not spend.
    from alexnet.adapters.object_store.s3 import DEADLINE_S, S3Store

    bucket, prefix = match.groups(default="")
    return S3Store(bucket, prefix.strip("/"), timeout_s or DEADLINE_S)
