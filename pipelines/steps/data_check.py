"""A published data set read again and compared, spread over the cluster."""

import tempfile
from pathlib import Path

from tqdm import tqdm

from alexnet.adapters import ray_cluster
from alexnet.adapters.object_store import open_store
from alexnet.adapters.ray_tasks import spread
from alexnet.dataset import manifest
from alexnet.preparation import data_check


def run(url: str, *, digests: bool, report: str, max_rejects: float) -> None:
    """Check all shards, and print what was found.

    Raises:
        AlexNetError: something is not as it was written, or cannot be read.
    """
    folder, name = manifest.locate(url)
    store = open_store(folder)
    known = manifest.read(store, name)
    reports = None if digests else open_store(report)
    if reports:
        reports.check_writable()
    total = sum(known.num_samples(split) for split in known.splits)
    shards = {part.number: part.shard for part in data_check.parts(known)}
    with ray_cluster.connected(), tempfile.TemporaryDirectory(prefix="check-") as temporary:
        summary = data_check.Summary(Path(temporary))
        with tqdm(total=total, unit="images", unit_scale=True, disable=None) as bar:
            todo = data_check.parts(known)
            for checked in spread(data_check.ShardCheck(store, not digests), todo):
                summary.add(checked)
                bar.update(shards[checked.number].num_samples)
        if reports:
            page = summary.write(reports, store, known)
            print(f"report {reports.url}/{page}")
    summary.raise_problems(max_rejects)
    print(f"{url}: {len(shards)} shards with {total} images are as they were written")
