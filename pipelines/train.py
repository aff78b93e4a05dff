"""Train AlexNet on the cluster, and register the best checkpoint as a model version.

A run that was begun by the same command and not finished is gone on with.
"""

import argparse
import sys
import time

from alexnet.adapters import ray_cluster, ray_runner
from alexnet.adapters.console import Console
from pipelines import command, launch, open_session, preflight, registration, summary
from pipelines.session import Session
from pipelines.stop_request import StopRequest


def run(args: argparse.Namespace) -> int:
    """Check what can be checked, train, register, and say what came of it; the exit status."""
    begun = time.monotonic()
    console = Console()
    if args.check:
        return preflight.run(command.config(args), console.say)
    inputs = launch.prepare(command.config(args), fresh=args.fresh)
    stop = StopRequest(console.say)
    ray_cluster.connect()
    try:
        resources = ray_cluster.claim(inputs.config.cluster)
        preflight.quick(inputs, resources, console.say)
        opened = open_session.opened(inputs, stop.event.set, console.say)
        with stop.on_signals(), opened as current:
            console.say(summary.opening(inputs, resources))
            try:
                result = _train(current, resources, stop, console)
            finally:
                console.close()
                ray_cluster.disconnect()  # no worker is left when another may take the run
            if not result:
                current.stop("KILLED")
                console.say(summary.stopped(current, stop.signal))
                return 128 + stop.signal
    finally:
        ray_cluster.disconnect()
    console.say(summary.closing(result, time.monotonic() - begun, current.tracked))
    return 0


def _train(
    current: Session, resources: ray_cluster.Resources, stop: StopRequest, console: Console
) -> summary.Result | None:
    """Train to the end and register what came of it; None if somebody wanted it to stop."""
    inputs = current.inputs
    end = ray_runner.train(
        inputs.config,
        inputs.manifest,
        inputs.store,
        checkpoints=current.checkpoints,
        resources=resources,
        watchers=(console.show, current.watch),
        stop=stop.event,
    )
    current.lease.check()
    return registration.run(current, stop, console.say) if end == "done" else None


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = command.parser("train", __doc__)
    parser.add_argument(
        "--fresh", action="store_true", help="begin a new run, though one is not finished"
    )
    parser.add_argument(
        "--check", action="store_true", help="look at all that it needs, and train nothing"
    )
    parser.epilog = (
        "Exit status: 0 trained and registered, 2 an error to act on, 130 or 143 stopped by a "
        "signal, with a checkpoint."
    )
    args = parser.parse_args(argv)
    return command.guarded("train", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
