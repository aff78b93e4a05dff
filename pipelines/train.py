"""Train AlexNet on the cluster, and register the best checkpoint as a model version."""

import sys
import time

from alexnet.adapters import mlflow_registry, ray_runner
from alexnet.adapters.console import Console
from alexnet.adapters.mlflow_tracking import TrackedRun
from alexnet.adapters.object_store import open_store
from alexnet.config import RunConfig

from alexnet.manifest import Manifest
from alexnet.progress import Event
from alexnet.store import Store
from pipelines import command, launch


def run(config: RunConfig, console: Console) -> None:
    """Check everything that can be checked, train, register, and say what came of it."""
    begun = time.monotonic()
    config, store, manifest = launch.prepare(config)
    run_name = launch.unique_name(config.name)
    ray_runner.connect()
    try:
        resources = ray_runner.claim(config.cluster)
        ray_runner.check_storage(config.cluster)
        tracked = TrackedRun.start(config, manifest, store.url, run_name, launch.git_commit())
        console.say(launch.opening(config, manifest, store, run_name, resources.num_workers))
        version, outcome = _train(config, manifest, store, run_name, resources, tracked, console)
    finally:
        console.close()
        ray_runner.disconnect()
    seconds = time.monotonic() - begun
    console.say(launch.closing(config, outcome.metrics, seconds, tracked, version))


def _train(
    config: RunConfig,
    manifest: Manifest,
    store: Store,
    run_name: str,
    resources: ray_runner.Resources,
    tracked: TrackedRun,
    console: Console,
) -> tuple[int, ray_runner.Outcome]:
    def on_event(event: Event) -> None:
        tracked.log(event)
        console.show(event)

    try:
        outcome = ray_runner.train(
            config, manifest, store, run_name=run_name, resources=resources, on_event=on_event
        )
        with outcome.best() as folder:
            version = mlflow_registry.register(
                folder, config, manifest, tracked.run_id, outcome.metrics
            )
    except BaseException as error:
        tracked.abandon("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    tracked.finish("FINISHED")
    return version, outcome


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = command.parser("train", __doc__)
    parser.epilog = "Exit status: 0 trained and registered, 2 an error to act on."
    args = parser.parse_args(argv)
    return command.guarded("train", lambda: run(command.config(args), Console()))


if __name__ == "__main__":
    sys.exit(main())
