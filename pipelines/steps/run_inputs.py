"""What is checked and named before a training starts."""

import dataclasses
from dataclasses import dataclass

from alexnet.adapters.object_store import open_store
from alexnet.config import RunConfig
from alexnet.dataset.manifest import Manifest
from alexnet.runs import code_version, run_record
from alexnet.runs.run_record import RunRecord
from alexnet.storage.store import Store
from pipelines.steps import data_set


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a training starts from, checked."""

    config: RunConfig
    """With an absolute `cluster.storage_url`, because workers start in another directory."""
    store: Store
    """Of the data; waits for a server that is away as long as training may."""
    manifest: Manifest
    record: RunRecord
    continued: bool
    """Whether the run was begun before."""

    @property
    def run_url(self) -> str:
        """Folder of the run, with its checkpoints."""
        return f"{self.config.cluster.storage_url}/{self.record.name}"


def prepare(config: RunConfig, *, fresh: bool = False, nested_in: str = "") -> Inputs:
    """Open and check the data and the folder of runs, before anything is started.

    Args:
        config: the run.
        fresh: do not go on with a run that was begun before.
        nested_in: MLflow's id of the run that a new one is a part of.

    Raises:
        AlexNetError: something is missing, does not fit or cannot be written.
    """
    config, store, manifest = checked(config)
    record, continued = run_record.find(
        config,
        manifest,
        store.url,
        code_version.current(),
        lambda run: open_store(f"{config.cluster.storage_url}/{run}"),
        fresh=fresh,
    )
    record = dataclasses.replace(record, nested_in=record.nested_in or nested_in)
    return Inputs(config, data_set.patient(config, store.url), manifest, record, continued)


def checked(config: RunConfig) -> tuple[RunConfig, Store, Manifest]:
    """The run with an absolute `cluster.storage_url`, which can be written, and its data.

    Raises:
        AlexNetError: something is missing, does not fit or cannot be written.
    """
    store, manifest = data_set.opened(config)
    data_set.check_fit(config, manifest)
    storage = open_store(config.cluster.storage_url)
    storage.check_writable()
    cluster = dataclasses.replace(config.cluster, storage_url=storage.url)
    return dataclasses.replace(config, cluster=cluster), store, manifest
