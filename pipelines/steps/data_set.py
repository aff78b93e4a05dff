"""The data set of a run: which it is, whether it fits, and how training reads it."""

import dataclasses
from pathlib import Path

from alexnet.adapters.object_store import CachedStore, open_store
from alexnet.config import RunConfig
from alexnet.dataset import embedded_digits
from alexnet.dataset import manifest as manifests
from alexnet.dataset.manifest import MANIFEST_NAME, Manifest
from alexnet.loading.epoch_plan import steps_and_remainder
from alexnet.registry import onnx_export
from alexnet.storage.store import Store


def opened(config: RunConfig) -> tuple[Store, Manifest]:
    """The data set of a run, as it is now; the embedded one is written at its first use.

    Raises:
        DataError, StoreError: it cannot be read.
    """
    folder, name = manifests.locate(url(config))
    store = open_store(folder)
    if not config.data.url and not store.exists(MANIFEST_NAME):
        embedded_digits.write(store)
    return store, manifests.read(store, name)


def url(config: RunConfig) -> str:
    """Where the data set is. The embedded one is with the runs, where every node can read it."""
    return config.data.url or f"{config.cluster.storage_url}/_data/digits-64px"


def pinned(config: RunConfig, manifest_digest: str) -> RunConfig:
    """The same on one manifest of its data, whatever is newer; its URL holds in any folder."""
    folder, _ = manifests.locate(url(config))
    there = f"{open_store(folder).url}/{manifests.name_of(manifest_digest)}"
    return dataclasses.replace(config, data=dataclasses.replace(config.data, url=there))


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
    steps_and_remainder(manifest.num_samples("train"), config.train.global_batch_size)


def patient(config: RunConfig, folder: str) -> Store:
    """The data as training reads it."""
    store = open_store(folder, config.cluster.store_timeout_s)
    if not config.data.cache_gib:
        return store
    return CachedStore(store, Path(config.data.cache_dir), int(config.data.cache_gib * 2**30))
