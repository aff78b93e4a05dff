"""Which processes are running: holders of leases, and unfinished jobs of the cluster."""

import os
import time

from alexnet import clock
from alexnet.adapters.object_store import open_store
from alexnet.adapters.ray_jobs import Jobs
from alexnet.config import RunConfig
from alexnet.errors import ClusterError
from alexnet.retraining import records
from alexnet.storage import folders, lease
from alexnet.storage.lease import Holder

SILENT_S = 6 * lease.TTL_S
"""Who has not renewed a lease for so long is gone; longer than a lease lasts, for clocks differ."""


def lines(config: RunConfig) -> list[str]:
    """One for each, the model's own retraining first.

    Raises:
        AlexNetError: the storage cannot be reached, or what is there is damaged.
    """
    storage, end = open_store(config.cluster.storage_url), f"/{lease.NAME}"
    own = folders.retrainings(storage.url, config.registry.model_name)
    found = [name.removesuffix(end) for name in storage.list() if name.endswith(end)]
    shown = []
    for folder in sorted(found, key=lambda each: (f"{storage.url}/{each}" != own, each)):
        url = f"{storage.url}/{folder}"
        holder = lease.read(open_store(url))
        if holder and not _is_gone(holder):
            what = _retraining(config) if url == own else folders.shown(folder, holder.step)
            seen = clock.readable(holder.renewed_ms)
            shown.append(f"{what}, by process {holder.pid} on {holder.host}, seen {seen}")
    return shown + _jobs()


def _is_gone(holder: Holder) -> bool:
    return holder.is_dead or time.time() - holder.renewed_ms / 1000 > SILENT_S


def _retraining(config: RunConfig) -> str:
    begun = records.read(open_store(records.url(config)))
    last = begun[-1] if begun and begun[-1].state != "ended" else None
    return f"retraining {last.number}, {last.state}" if last else "planning"


def _jobs() -> list[str]:
    """Of the cluster that `RAY_API_SERVER_ADDRESS` names."""
    address = os.environ.get("RAY_API_SERVER_ADDRESS")
    if not address:
        return []
    try:
        return [f"job {each}" for each in Jobs(address).unfinished()]
    except ClusterError as error:  # the rest of the screen is still true
        return [f"jobs: {error}"]
