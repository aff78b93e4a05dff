"""Runs the trials of a search on Ray Tune, and stops the worse ones early by ASHA.

Tune keeps nothing that a search resumes: a trial that was started before says its epochs again,
from its run's own folder, and the scheduler learns of them as it did then.
"""

import logging
import math
import os
import queue
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from ray import tune
from ray._private import ray_logging
from ray.tune.execution import class_cache
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from alexnet import background
from alexnet.config import ClusterConfig
from alexnet.search.record import Ended, Epoch
from alexnet.search.space import Search

PATIENCE_S = 2.0
"""After so long without an epoch's end a trial reports all the same, so that it can be stopped."""

POLL_S = 0.25

CLAIM: dict[str, float] = {"memory": 1}
"""What a trial's process claims besides its workers: a byte, because Tune wants something, and no
CPU, because workers may need all of them."""

SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",  # prints boxes, whatever is set; the old one obeys
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow has the curves
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours is there
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a report without an epoch has none
}
"""Of Tune, where the environment has none."""

Report = tuple[int, Epoch | Ended]
"""Number of a trial, and what it says."""


class Following(Protocol):
    """A trial that was started, in a process of its own."""

    def next(self, patience_s: float) -> Epoch | Ended | None:
        """What it says next; None if that takes longer."""

    def stop(self) -> None:
        """End it if it has not ended, with a checkpoint."""


class _Trial(tune.Trainable):
    """What Tune sees of a trial."""

    def setup(self, config: dict[str, Any], begin: Any = None) -> None:
        self._following = begin(config["number"])

    def step(self) -> dict[str, Any]:
        said = self._following.next(PATIENCE_S)
        if isinstance(said, Ended):
            ended = {"done": True, "outcome": said.outcome, "why": said.why}
            return {**ended, **(_as_result(said.last) if said.last else {})}
        return _as_result(said) if said else {}

    def cleanup(self) -> None:
        self._following.stop()


def _as_result(epoch: Epoch) -> dict[str, Any]:
    return {"epoch": epoch.number, "top1": epoch.top1, "loss": epoch.loss}


class _InDriver:
    """What Tune writes down and never reads: it needs no threads or queues there."""

    def __reduce__(self) -> tuple[Any, ...]:
        return object, ()


class _Listener(_InDriver, tune.Callback):
    """Passes on what trials say."""

    def __init__(self, reports: "queue.SimpleQueue[Report]", stop: threading.Event) -> None:
        self._reports, self._stop = reports, stop

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        del iteration, trials
        if "epoch" in result:
            epoch = Epoch(result["epoch"], result["top1"], result["loss"])
            self._reports.put((trial.config["number"], epoch))

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        del iteration, trials
        last = trial.last_result
        if "outcome" in last:
            self._reports.put((trial.config["number"], Ended(last["outcome"], last["why"])))
        elif not self._stop.is_set():
            self._reports.put((trial.config["number"], Ended("ended early")))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        del iteration, trials
        why = "its process died, or it has a bug; the log is in Ray's session folder."
        self._reports.put((trial.config["number"], Ended("failed", why)))


class _StopWhenAsked(_InDriver, tune.Stopper):
    """Stops all trials when somebody wants it."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        del trial_id, result
        return False

    def stop_all(self) -> bool:
        return self._stop.is_set()


class _Asha(ASHAScheduler):
    """Judges what is new."""

    def __init__(self, judged: Mapping[int, int], patience_s: int, **settings: Any) -> None:
        super().__init__(time_attr="epoch", **settings)
        self._judged, self._patience_s = judged, patience_s

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(tune_controller, trial)
        # At its end Tune kills what has not stopped 10 s after it was asked to, and has no setting.
        tune_controller._tune_controller._actor_force_cleanup_timeout = self._patience_s

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision: str = super().on_trial_result(tune_controller, trial, result)
        again = result.get("epoch", 0) <= self._judged[trial.config["number"]]
        return TrialScheduler.CONTINUE if again else decision


def _set_up(patience_s: int) -> None:
    """Let Tune be quiet and careful in this process; `patience_s` for trials that are stopped."""
    for name, value in {**SETTINGS, "TUNE_FORCE_TRIAL_CLEANUP_S": str(patience_s)}.items():
        os.environ.setdefault(name, value)
    # Tune would hand them on in what Ray writes into logs. The nodes have their own.
    secret = {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
    class_cache.ENV_VARS_TO_PROPAGATE -= secret
    # A trial has a handful of processes that claim no CPU, and Ray warns of their number.
    ray_logging.stdout_deduplicator.skip_re = re.compile("worker processes have been started")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails is said by the trial


def run(
    judged: Mapping[int, int],
    begin: Callable[[int], Following],
    search: Search,
    *,
    max_epochs: int,
    side_by_side: int,
    settings: ClusterConfig,
    stop: threading.Event,
) -> Iterator[Report]:
    """Run trials until each has ended, or until `stop` is set.

    Args:
        judged: for each trial, in starting order, the epochs at which an earlier command let it
            continue. They are not judged again: in another order of arrival ASHA might stop it.
        begin: called in each trial's process with its number.
        search: how they are stopped early.
        max_epochs: of a trial that is not.
        side_by_side: how many trials run at a time.
        settings: how often a trial whose process dies is restarted, and how long one that is
            stopped may take to end.
        stop: set to end all, with a checkpoint.

    Yields:
        What the trials say, as it comes.
    """
    patience_s = math.ceil(2 * settings.stop_timeout_s)  # its last checkpoint, and MLflow
    _set_up(patience_s)
    reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
    folder = tempfile.mkdtemp(prefix="alexnet-tune-")
    scheduler = _Asha(
        judged,
        patience_s,
        max_t=max_epochs,
        grace_period=search.min_epochs,
        reduction_factor=search.reduction,
    )
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(_Trial, begin=begin), CLAIM),
        param_space={"number": tune.grid_search(list(judged))},
        tune_config=tune.TuneConfig(
            metric="top1", mode="max", max_concurrent_trials=side_by_side, scheduler=scheduler
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=folder,
            verbose=0,
            stop=_StopWhenAsked(stop),
            callbacks=[_Listener(reports, stop)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=settings.max_failures),
        ),
    )
    result = background.begin("tune", tuner.fit)
    try:
        yield from _until_done(reports, result)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _until_done(reports: "queue.SimpleQueue[Report]", result: "Future[Any]") -> Iterator[Report]:
    """What the trials report until Tune has ended; raises what Tune has raised."""
    while not (result.done() and reports.empty()):
        try:
            yield reports.get(timeout=POLL_S)
        except queue.Empty:
            continue
    result.result()
