"""The inputs of a training: its configuration, data set and run record, checked."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from alexnet.adapters.object_store import CachedStore, open_store
from alexnet.config import RunConfig
from alexnet.dataset import embedded_digits
from alexnet.dataset import manifest as manifests
from alexnet.dataset.manifest import MANIFEST_NAME, Manifest
from alexnet.loading.epoch_plan import steps_and_remainder
from alexnet.runs import code_version, run_record
from alexnet.runs.run_record import RunRecord
from alexnet.storage import folders
from alexnet.storage.store import ReadableStore, Store


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a training starts from, checked."""

    config: RunConfig
    """With an absolute `cluster.storage_url`, because workers start in another directory."""
    store: ReadableStore
    """Of the data; waits for a server that is away as long as training may."""
    manifest: Manifest
    record: RunRecord
    continued: bool
    """Whether the run was started before."""

    @property
    def run_url(self) -> str:
        """Folder of the run, with its checkpoints."""
        return folders.run(self.config.cluster.storage_url, self.record.name)


def prepare(config: RunConfig, *, fresh: bool = False, nested_in: str = "") -> Inputs:
    """Open and check the data and the folder of runs, before anything is started.

    Raises:
        AlexNetError: something is missing, does not fit or cannot be written.
    """
    config, store, manifest = checked(config)
    record, continued = run_record.find(
        config,
        manifest,
        store.url,
        code_version.current(),
        lambda run: open_store(folders.run(config.cluster.storage_url, run)),
        fresh=fresh,
    )
    record = dataclasses.replace(record, nested_in=record.nested_in or nested_in)
    return Inputs(config, data_store(config, store.url), manifest, record, continued)


def checked(config: RunConfig) -> tuple[RunConfig, Store, Manifest]:
    """The run with an absolute `cluster.storage_url`, which can be written, and its data.

    Raises:
        AlexNetError: something is missing, does not fit or cannot be written.
    """
    store, manifest = open_data(config)
    check_fit(config, manifest)
    storage = open_store(config.cluster.storage_url)
    storage.check_writable()
    cluster = dataclasses.replace(config.cluster, storage_url=storage.url)
    return dataclasses.replace(config, cluster=cluster), store, manifest


def open_data(config: RunConfig) -> tuple[Store, Manifest]:
    """The data set of a run, as it is now; the embedded one is written at its first use.

    Raises:
        DataError, StoreError: it cannot be read.
    """
    folder, name = manifests.locate(data_url(config))
    store = open_store(folder)
    if not config.data.url and not store.exists(MANIFEST_NAME):
        embedded_digits.write(store)
    return store, manifests.read(store, name)


def data_url(config: RunConfig) -> str:
    """Where the data set is. The embedded one is with the runs, where every node can read it."""
    return config.data.url or folders.digits(config.cluster.storage_url)


def pinned(config: RunConfig, manifest_digest: str) -> RunConfig:
    """The same on one manifest of its data, whatever is newer; its URL holds in any folder."""
    folder, _ = manifests.locate(data_url(config))
    there = f"{open_store(folder).url}/{manifests.name_of(manifest_digest)}"
    return dataclasses.replace(config, data=dataclasses.replace(config.data, url=there))


def check_fit(config: RunConfig, manifest: Manifest) -> None:
    """Hold the run against its data.

    Raises:
        ConfigError: what the end of the run needs is not installed.
        DataError: they do not fit.
    """
    if config.registry.onnx:
        from alexnet.registry import onnx_export

        onnx_export.check_installed()
    manifests.check_classes(manifest, config.model.num_classes)
    manifest.split("val")
    steps_and_remainder(manifest.num_samples("train"), config.train.global_batch_size)


def data_store(config: RunConfig, folder: str) -> ReadableStore:
    """The data as training reads it."""
    store = open_store(folder, config.cluster.store_timeout_s)
    if not config.data.cache_gib:
        return store
    return CachedStore(store, Path(config.data.cache_dir), int(config.data.cache_gib * 2**30))
