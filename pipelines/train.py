"""Train AlexNet on the cluster, and register the best checkpoint as a model version.

A run that was begun by the same command and not finished is gone on with.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pipelines import _command


def run(args: argparse.Namespace) -> int:
    """Check what can be checked, train and register; the exit status."""
    from alexnet import background
    from alexnet.adapters import console, ray_cluster

    config, output = _command.config(args), console.opened()
    if args.check:
        from pipelines.steps import preflight

        return preflight.run(config, output.say)
    from pipelines.steps import run_inputs

    inputs = run_inputs.prepare(config, fresh=args.fresh)
    # Torch and MLflow take seconds, and so does a cluster of this machine's own.
    loaded = background.begin("load", _load)
    with ray_cluster.connected():
        loaded.result()
        from pipelines.steps import training
        from pipelines.steps.stop_request import StopRequest

        stop = StopRequest(output.say)
        return 0 if training.run(inputs, stop, output) else 128 + stop.signal


def _load() -> None:
    import_module("pipelines.steps.training")
    from alexnet.adapters import mlflow_connection

    mlflow_connection.prepare_database()


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = _command.parser(
        "train",
        __doc__,
        "0 trained and registered, 2 an error to act on, 130 or 143 stopped by a "
        "signal, with a checkpoint",
    )
    _command.add_run(parser)
    parser.add_argument(
        "--fresh", action="store_true", help="begin a new run, though one is not finished"
    )
    parser.add_argument(
        "--check", action="store_true", help="look at all that it needs, and train nothing"
    )
    return _command.main(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
