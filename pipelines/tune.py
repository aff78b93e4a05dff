"""Search for better settings: trainings with other values, the worse of which are ended early.

The same command goes on with a search that was interrupted. What came out best is written as a
configuration for pipelines/train.py; nothing is registered.
"""

import argparse
import sys
from contextlib import suppress
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from alexnet.adapters import console, mlflow_connection
from alexnet.adapters.mlflow_search import TrackedSearch
from alexnet.config import RunConfig
from alexnet.errors import ConfigError, LeaseError, TrackingError
from alexnet.search import space as searches
from alexnet.search.record import SearchRecord
from alexnet.storage.lease import Lease
from pipelines import _command
from pipelines.steps import search, search_inputs, search_report
from pipelines.steps.preflight import Say
from pipelines.steps.search_inputs import Inputs
from pipelines.steps.stop_request import StopRequest

EMBEDDED = Path(__file__).parent / "spaces" / "digits.toml"
"""The search of a command without `--space`."""


def run(args: argparse.Namespace) -> int:
    """Search until each trial has ended; the exit status."""
    say, config = console.opened().say, _command.config(args)
    if args.out and (args.out.is_dir() or not args.out.absolute().parent.is_dir()):
        raise ConfigError(f"--out {args.out}: not a file in a folder that exists. Name another.")
    inputs = search_inputs.prepare(config, searches.load(args.space))
    if args.dry_run:
        say(search_report.plan(search_inputs.record(inputs)))
        return 0
    stop = StopRequest(say)
    lease = Lease(inputs.store, stop.event.set)
    with lease.held(f"search {inputs.store.url}"):
        return _search(config, inputs, lease, stop, args.out, say)


def _search(
    config: RunConfig, inputs: Inputs, lease: Lease, stop: StopRequest, out: Path | None, say: Say
) -> int:
    mlflow_connection.share()
    record = search_inputs.record(inputs)
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


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = _command.parser("tune", __doc__)
    parser.add_argument(
        "--space",
        type=Path,
        default=EMBEDDED,
        metavar="FILE",
        help="TOML file of the search: which keys vary, how many trials (default: the digits')",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the best configuration here, too"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the trials, and train nothing")
    parser.epilog = "Exit status: 0 the best is written, 2 an error to act on, 130 or 143 stopped."
    args = parser.parse_args(argv)
    return _command.guarded("tune", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
