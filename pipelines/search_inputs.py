"""What is checked before a search, and what was done of it before."""

from dataclasses import dataclass, replace

from alexnet import search, trials
from alexnet.adapters.object_store import open_store
from alexnet.config import RunConfig
from alexnet.errors import ConfigError
from alexnet.manifest import Manifest
from alexnet.search import Search
from alexnet.store import Store
from alexnet.trials import SearchRecord, Trial
from pipelines import commit, data_set, launch


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a search starts from, checked."""

    search: Search
    trained: list[RunConfig]
    """What each trial trains, on the search's manifest, with an absolute `cluster.storage_url`."""
    manifest: Manifest
    store: Store
    """Folder of the search."""


def prepare(config: RunConfig, wanted: Search) -> tuple[Inputs, SearchRecord]:
    """Check everything, and find out what was done before; nothing is begun.

    Raises:
        AlexNetError: something is missing, does not fit or cannot be written.
    """
    if config.run.name:
        raise ConfigError(f"run.name = {config.run.name!r}: a search names its trials itself.")
    config, _, manifest = launch.checked(config)
    digest = search.digest(wanted, config, manifest.digest)[:8]
    store = open_store(f"{config.cluster.storage_url}/_search/{config.name}-{digest}")
    if store.exists(trials.NAME):
        record = trials.read(store)
    else:
        record = SearchRecord(
            name=f"{config.name}-search-{digest}",
            manifest_digest=manifest.digest,
            git_commit=commit.current(),
        )
    known = len(record.trials)
    wanted = replace(wanted, trials=max(known, wanted.trials))
    trained = search.configs(wanted, data_set.pinned(config, manifest.digest))
    for each in trained:
        data_set.check_fit(each, manifest)
    new = [
        Trial(number=number, values=values, run_name=f"{config.name}-trial-{digest}-{number:03d}")
        for number, values in enumerate(search.draws(wanted))
    ][known:]
    record = replace(record, trials=(*record.trials, *new))
    return Inputs(wanted, trained, manifest, store), record
