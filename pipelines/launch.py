"""What is checked and named before a training starts."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from alexnet import digits, onnx_export, run_record
from alexnet import manifest as manifests
from alexnet.adapters.object_store import CachedStore, open_store
from alexnet.config import RunConfig
from alexnet.manifest import MANIFEST_NAME, Manifest
from alexnet.plan import EpochPlan
from alexnet.run_record import RunRecord
from alexnet.store import Store
from pipelines import commit


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


def prepare(config: RunConfig, *, fresh: bool = False) -> Inputs:
    """Open and check the data and the folder of runs, before anything is started.

    Args:
        config: the run.
        fresh: do not go on with a run that was begun before.

    Raises:
        AlexNetError: something is missing, does not fit or cannot be written.
    """
    store, manifest = data(config)
    check_fit(config, manifest)
    storage = open_store(config.cluster.storage_url)
    storage.check_writable()
    cluster = dataclasses.replace(config.cluster, storage_url=storage.url)
    config = dataclasses.replace(config, cluster=cluster)
    record, continued = run_record.find(
        config,
        manifest,
        store.url,
        commit.current(),
        lambda run: open_store(f"{storage.url}/{run}"),
        fresh=fresh,
    )
    return Inputs(config, _patient(config, store.url), manifest, record, continued)


def data(config: RunConfig) -> tuple[Store, Manifest]:
    """The data set of a run, as it is now; the embedded one is written at its first use.

    Raises:
        DataError, StoreError: it cannot be read.
    """
    folder, name = manifests.locate(data_url(config))
    store = open_store(folder)
    if not config.data.url and not store.exists(MANIFEST_NAME):
        digits.write(store)
    return store, manifests.read(store, name)


def data_url(config: RunConfig) -> str:
    """Where the data set is. The embedded one is with the runs, where every node can read it."""
    return config.data.url or f"{config.cluster.storage_url}/_data/digits-64px"


def check_fit(config: RunConfig, manifest: Manifest) -> None:
    """Hold the run against its data.

    Raises:
        ConfigError: what the end of the run needs is not installed.
        DataError: they do not fit.
    """
    if config.registry.onnx:
        onnx_export.check_installed()
    manifests.check_classes(manifest, config.model.num_classes)
    manifest.split("val")
    EpochPlan(  # refuses a batch larger than the data set
        manifest.split("train").sizes,
        seed=config.train.seed,
        epoch=0,
        num_streams=config.data.num_streams,
        window_samples=config.data.window_samples,
        global_batch_size=config.train.global_batch_size,
    )


def _patient(config: RunConfig, folder: str) -> Store:
    """The data as training reads it."""
    store = open_store(folder, config.cluster.store_timeout_s)
    if not config.data.cache_gib:
        return store
    return CachedStore(store, Path(config.data.cache_dir), int(config.data.cache_gib * 2**30))
