"""The trials of a search, until each has ended."""

import functools
from collections.abc import Iterator
from dataclasses import replace

from alexnet.adapters import ray_cluster, ray_tuner
from alexnet.adapters.object_store import open_store
from alexnet.adapters.ray_tuner import Word
from alexnet.config import NameConfig
from alexnet.runs import run_record
from alexnet.runs.run_record import RunRecord
from alexnet.search.record import DONE, Ended, Epoch, SearchRecord, Trial
from alexnet.storage.lease import Lease
from pipelines.steps import preflight, search_trial
from pipelines.steps.preflight import Say
from pipelines.steps.search_inputs import Inputs
from pipelines.steps.search_trial import Task
from pipelines.steps.stop_request import StopRequest


def run(
    inputs: Inputs, record: SearchRecord, nested_in: str, lease: Lease, stop: StopRequest, say: Say
) -> SearchRecord:
    """Run the trials that have not ended, and write down what they say; the record then.

    Raises:
        AlexNetError: something that the user can mend; the same command goes on.
    """
    if any(_is_open(inputs, each) for each in record.trials):
        for number, said in _words(inputs, record, nested_in, stop, say):
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


def _words(
    inputs: Inputs, record: SearchRecord, nested_in: str, stop: StopRequest, say: Say
) -> Iterator[Word]:
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
    folder = open_store(f"{inputs.config.cluster.storage_url}/{trial.run_name}")
    return run_record.read(folder) if folder.exists(run_record.NAME) else None
