"""A search: its inputs, checked, and its trials until each has ended."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from alexnet import config_file
from alexnet.adapters import ray_cluster, ray_tuner
from alexnet.adapters.object_store import open_store
from alexnet.adapters.ray_tuner import Report
from alexnet.config import NameConfig, RunConfig
from alexnet.dataset.manifest import Manifest
from alexnet.errors import ConfigError
from alexnet.runs import code_version, run_record
from alexnet.runs.run_record import RunRecord
from alexnet.search import record as trials
from alexnet.search import space
from alexnet.search.record import DONE, Ended, Epoch, SearchRecord, Trial
from alexnet.search.space import Search
from alexnet.storage import folders
from alexnet.storage.lease import Lease
from alexnet.storage.store import Store
from pipelines.steps import preflight, run_inputs, search_trial
from pipelines.steps.preflight import Say
from pipelines.steps.search_trial import Task
from pipelines.steps.stop_request import StopRequest


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
    """Check everything; nothing is started.

    Raises:
        AlexNetError: something is missing, does not fit or cannot be written.
    """
    if config.run.name:
        raise ConfigError(f"run.name = {config.run.name!r}: a search names its trials itself.")
    config, _, manifest = run_inputs.checked(config)
    digest = space.digest(wanted, config, manifest.digest)[:8]
    store = open_store(folders.search(config.cluster.storage_url, f"{config.name}-{digest}"))
    made = Inputs(wanted, run_inputs.pinned(config, manifest.digest), manifest, store)
    for trial in planned(made).trials:
        made.trained(trial)
    return made


def planned(inputs: Inputs) -> SearchRecord:
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


def run(
    inputs: Inputs, record: SearchRecord, nested_in: str, lease: Lease, stop: StopRequest, say: Say
) -> SearchRecord:
    """Run the trials that have not ended, and write down what they say; the record then.

    Raises:
        AlexNetError: something that the user can fix; the same command continues.
    """
    if any(_is_open(inputs, each) for each in record.trials):
        for number, said in _reports(inputs, record, nested_in, stop, say):
            lease.check()
            before = record.trials[number]
            after = before.seen(said) if isinstance(said, Epoch) else before.ended(said)
            if before.outcome in DONE or after == before:
                continue  # it says again what is known
            record = record.having(after)
            record.write(inputs.store)
            say(f"trial {number}: {_line(said)}")
    lease.check()
    record = _with_costs(inputs, record)
    record.write(inputs.store)
    return record


def _is_open(inputs: Inputs, trial: Trial) -> bool:
    """Whether a trial has not ended, or was killed while it did."""
    run = _run_record(inputs, trial)
    return trial.outcome not in DONE or (run is not None and run.status == "RUNNING")


def _reports(
    inputs: Inputs, record: SearchRecord, nested_in: str, stop: StopRequest, say: Say
) -> Iterator[Report]:
    config = inputs.config
    with ray_cluster.connected():
        resources = ray_cluster.claim(config.cluster)
        preflight.quick(config, inputs.manifest, resources, say)
        room = inputs.search.side_by_side or ray_cluster.side_by_side(config.cluster, resources)
        say(
            f"search={record.name} trials={len(record.trials)} side_by_side={room} "
            f"workers={resources.max_workers} data={config.data.url} epochs={config.train.epochs}"
        )
        tasks = [
            Task(
                replace(inputs.trained(each), run=NameConfig(name=each.run_name)),
                nested_in,
                resources,
                Ended(each.outcome, each.why) if each.outcome in DONE else None,
            )
            for each in record.trials
        ]
        with stop.on_signals():
            yield from ray_tuner.run(
                {each.number: len(each.epochs) for each in record.trials},
                functools.partial(search_trial.begin, tasks),
                inputs.search,
                max_epochs=config.train.epochs,
                side_by_side=room,
                settings=config.cluster,
                stop=stop.event,
            )


def _line(said: Epoch | Ended) -> str:
    if isinstance(said, Epoch):
        return f"epoch {said.number}: top-1 {said.top1:.4f}, loss {said.loss:.4f}"
    return f"{said.outcome}: {said.why}" if said.why else said.outcome


def _with_costs(inputs: Inputs, record: SearchRecord) -> SearchRecord:
    for each in record.trials:
        run = _run_record(inputs, each)
        if run:
            record = replace(record.having(replace(each, cost=run.cost)), currency=run.currency)
    return record


def _run_record(inputs: Inputs, trial: Trial) -> RunRecord | None:
    folder = open_store(folders.run(inputs.config.cluster.storage_url, trial.run_name))
    return run_record.read(folder) if folder.exists(run_record.NAME) else None
