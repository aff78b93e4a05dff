"""Train AlexNet on the cluster, and register the best checkpoint as a model version."""

import sys
import time

from alexnet.adapters import mlflow_registry, ray_runner
from alexnet.adapters.console import Console
from alexnet.adapters.mlflow_registry import Version
from alexnet.adapters.mlflow_tracking import TrackedRun
from alexnet.config import RunConfig
from pipelines import command, launch, summary


def run(config: RunConfig) -> None:
    """Check what can be checked, train, register, and say what came of it."""
    begun = time.monotonic()
    console = Console()
    inputs = launch.prepare(config)
    ray_runner.connect()
    try:
        resources = ray_runner.claim(inputs.config.cluster)
        tracked = TrackedRun.start(
            inputs.config,
            inputs.manifest,
            inputs.store.url,
            inputs.run_name,
            launch.git_commit(),
            console.say,
        )
        outcome, version = _train(inputs, resources, tracked, console)
    finally:
        ray_runner.disconnect()
    seconds = time.monotonic() - begun
    console.say(summary.closing(outcome, seconds, tracked, version))


def _train(
    inputs: launch.Inputs, resources: ray_runner.Resources, tracked: TrackedRun, console: Console
) -> tuple[ray_runner.Outcome, Version]:
    """Train and register, and close the MLflow run as what it was."""
    console.say(summary.opening(inputs, resources.num_workers))
    try:
        outcome = ray_runner.train(
            inputs.config,
            inputs.manifest,
            inputs.store,
            run_name=inputs.run_name,
            resources=resources,
            watchers=(console.show, tracked.log),
        )
        console.say(f"checkpoint={outcome.url}")  # to be found even if registering fails
        with outcome.best() as folder:
            version = mlflow_registry.register(
                folder, inputs.config, inputs.manifest, tracked.run_id, outcome.metrics
            )
    except BaseException as error:
        tracked.abandon("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    finally:
        console.close()
    tracked.finish("FINISHED")
    return outcome, version


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = command.parser("train", __doc__)
    parser.epilog = "Exit status: 0 trained and registered, 2 an error to act on."
    args = parser.parse_args(argv)
    return command.guarded("train", lambda: run(command.config(args)))


if __name__ == "__main__":
    sys.exit(main())
