"""What is checked before a search, and what was done of it before."""

from dataclasses import dataclass, replace

from alexnet import config_file
from alexnet.adapters.object_store import open_store
from alexnet.config import RunConfig
from alexnet.dataset.manifest import Manifest
from alexnet.errors import ConfigError
from alexnet.runs import code_version
from alexnet.search import record as trials
from alexnet.search import space
from alexnet.search.record import SearchRecord, Trial
from alexnet.search.space import Search
from alexnet.storage.store import Store
from pipelines.steps import run_inputs


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a search starts from, checked."""

    search: Search
    config: RunConfig
    """Of trial 0, on the search's manifest, with an absolute `cluster.storage_url`."""
    manifest: Manifest
    store: Store
    """Folder of the search."""

    def trained(self, trial: Trial) -> RunConfig:
        """What a trial trains.

        Raises:
            DataError: that does not fit the data.
        """
        made = config_file.changed(self.config, trial.values)
        run_inputs.check_fit(made, self.manifest)
        return made


def prepare(config: RunConfig, wanted: Search) -> Inputs:
    """Check everything; nothing is begun.

    Raises:
        AlexNetError: something is missing, does not fit or cannot be written.
    """
    if config.run.name:
        raise ConfigError(f"run.name = {config.run.name!r}: a search names its trials itself.")
    config, _, manifest = run_inputs.checked(config)
    digest = space.digest(wanted, config, manifest.digest)[:8]
    store = open_store(f"{config.cluster.storage_url}/_search/{config.name}-{digest}")
    made = Inputs(wanted, run_inputs.pinned(config, manifest.digest), manifest, store)
    for trial in record(made).trials:
        made.trained(trial)
    return made


def record(inputs: Inputs) -> SearchRecord:
    """What was done before, and the trials that are to come.

    Raises:
        AlexNetError: what is there cannot be read.
    """
    config, digest = inputs.config, inputs.store.url.rpartition("-")[2]
    if inputs.store.exists(trials.NAME):
        known = trials.read(inputs.store)
    else:
        known = SearchRecord(
            name=f"{config.name}-search-{digest}",
            manifest_digest=inputs.manifest.digest,
            git_commit=code_version.current(),
        )
    new = [
        Trial(number=number, values=values, run_name=f"{config.name}-trial-{digest}-{number:03d}")
        for number, values in enumerate(space.draws(inputs.search, config))
    ][len(known.trials) :]
    return replace(known, trials=(*known.trials, *new))
