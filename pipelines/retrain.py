"""Retrain if there is something new to learn, and promote what comes of it if it is better.

Any scheduler may call this as often as it likes: one that was interrupted is gone on with, and what
was learnt already is not learnt again.
"""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from alexnet.errors import LeaseError
from pipelines import _command

BUSY = 5
"""Exit status."""

EXIT_STATUSES = (
    "0 promoted, or nothing is new; 2 an error to act on; 3 refused by the gate, "
    "or ended by a limit; 4 a person has to approve it; 5 another process is at work; 130 or "
    "143 stopped by a signal, with a checkpoint"
)


def run(args: argparse.Namespace) -> int:
    """Do what is to be done; the exit status."""
    from alexnet.adapters import mlflow_connection
    from alexnet.adapters.console import complain
    from alexnet.adapters.object_store import open_store
    from alexnet.retraining import records
    from alexnet.storage.lease import Lease
    from pipelines.steps.retraining import Retrainer

    config = _command.config(args)
    store = open_store(records.url(config))
    mlflow_connection.connect()
    retrainer = Retrainer(config, store, require_approval=args.require_approval)
    if args.dry_run:
        plan, _ = retrainer.plan()
        print(f"{config.registry.model_name}: would {plan.action}: {plan.reason}")
        return 0
    lease = Lease(store, retrainer.stop.event.set)
    with ExitStack() as held:
        try:
            held.enter_context(lease.held(f"retraining of {config.registry.model_name}", ""))
        except LeaseError as error:
            complain("retrain", str(error))
            return BUSY
        return retrainer.run(lease)


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = _command.parser("retrain", __doc__, EXIT_STATUSES)
    _command.add_run(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and do nothing"
    )
    parser.add_argument(
        "--require-approval", action="store_true", help="promote only what a person has approved"
    )
    return _command.main(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
