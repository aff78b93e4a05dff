"""A search from its checks to the best configuration, under a lease and an MLflow run."""

from contextlib import suppress
from pathlib import Path

from alexnet.adapters import console, mlflow_connection
from alexnet.adapters.mlflow_search import TrackedSearch
from alexnet.config import RunConfig
from alexnet.errors import ConfigError, LeaseError, TrackingError
from alexnet.search import space as searches
from alexnet.search.record import SearchRecord
from alexnet.storage.lease import Lease
from pipelines.steps import search, search_report
from pipelines.steps.preflight import Say
from pipelines.steps.search import Inputs, planned, prepare
from pipelines.steps.stop_request import StopRequest


def run(config: RunConfig, space: Path, out: Path | None, *, dry_run: bool) -> int:
    """Search until each trial has ended; the exit status.

    Raises:
        AlexNetError: something that the user can fix; the same command resumes the search.
    """
    say = console.opened().say
    if out and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise ConfigError(f"--out {out}: not a file in a folder that exists. Name another.")
    inputs = prepare(config, searches.load(space))
    if dry_run:
        say(search_report.plan(planned(inputs)))
        return 0
    stop = StopRequest(say)
    lease = Lease(inputs.store, stop.event.set)
    with lease.held(f"search {inputs.store.url}"):
        return _search(config, inputs, lease, stop, out, say)


def _search(
    config: RunConfig, inputs: Inputs, lease: Lease, stop: StopRequest, out: Path | None, say: Say
) -> int:
    mlflow_connection.share()
    record = planned(inputs)
    record.write(inputs.store)  # MLflow's run is found by its key
    params = search_report.params(inputs.search)
    tracked = TrackedSearch(record, config.registry.experiment, params)
    try:
        record = search.run(inputs, record, tracked.run_id, lease, stop, say)
        if stop.event.is_set():
            tracked.end("KILLED")
            say(search_report.stopped(record, stop.why))
            return 128 + stop.signal
        _conclude(config, inputs, record, tracked, out, say)
    except LeaseError:
        raise  # MLflow's run is another command's
    except BaseException as error:
        with suppress(TrackingError):
            tracked.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    return 0


def _conclude(
    config: RunConfig,
    inputs: Inputs,
    record: SearchRecord,
    tracked: TrackedSearch,
    out: Path | None,
    say: Say,
) -> None:
    """Write what came out best where people and trainings find it."""
    text, name = search_report.toml(record, config), search_report.BEST
    inputs.store.write(name, text.encode())
    file = f"{inputs.store.url}/{name}"
    if out:
        out.write_text(text, encoding="utf-8")
        file = str(out)
    tracked.end("FINISHED", {name: text}, search_report.metrics(record))
    say(search_report.closing(record, file, tracked.shown_uri))
