"""Train AlexNet on the cluster, and register the best checkpoint as a model version.

A run that was begun by the same command and not finished is gone on with.
"""

import argparse
import sys
import time

from alexnet.adapters import mlflow_registry, ray_cluster, ray_runner
from alexnet.adapters.console import Console
from alexnet.errors import AlexNetError, LeaseError
from alexnet.loop import End
from pipelines import command, launch, preflight, session, summary
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
        with stop.on_signals(), session.opened(inputs, stop, console.say) as current:
            console.say(summary.opening(inputs, resources))
            try:
                end = _train(current, resources, stop, console)
                result = _registered(current, stop) if end == "done" else None
            except LeaseError:
                raise  # its record and its MLflow run are now another process's
            except BaseException as error:
                current.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
                raise
            finally:
                console.close()
            current.close("FINISHED" if result else "KILLED")
    finally:
        ray_cluster.disconnect()
    if not result:
        console.say(summary.stopped(inputs, stop.signal))
        return 128 + stop.signal
    console.say(summary.closing(result, time.monotonic() - begun, current.tracked))
    return 0


def _train(
    current: Session, resources: ray_cluster.Resources, stop: StopRequest, console: Console
) -> End:
    """Train to the end, or until somebody wants it to stop."""
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
    if stop.lost_lease:
        raise LeaseError(stop.lost_lease)
    return end


def _registered(current: Session, stop: StopRequest) -> summary.Result:
    """Make a model version of the best checkpoint, when MLflow has all that came before."""
    inputs = current.inputs
    config, checkpoints = inputs.config, current.checkpoints
    best = checkpoints.best()
    url = checkpoints.url(best.step)
    try:
        current.catch_up(stop.event)
        with checkpoints.local(best.step) as folder:
            version = mlflow_registry.register(
                folder, config, inputs.manifest, current.tracked.run_id, best.metrics
            )
    except AlexNetError as error:
        raise type(error)(
            f"{error} Training is complete, its best checkpoint is {url}; the same command goes on "
            "from here."
        ) from error
    return summary.Result(best, url, version)


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
