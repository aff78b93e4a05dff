"""What Tune's scheduler decides when a search is gone on with."""

from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler

from alexnet.adapters.ray_tuner import _Asha


def scheduler(judged):
    """One with a trial for each number, and the controller that it was told of."""
    controller = SimpleNamespace(_tune_controller=SimpleNamespace())
    settings = {"max_t": 9, "grace_period": 1, "reduction_factor": 2}
    made = _Asha(judged, 120, metric="top1", mode="max", **settings)
    trials = [SimpleNamespace(trial_id=str(i), config={"number": i}) for i in judged]
    for trial in trials:
        made.on_trial_add(controller, trial)
    return controller, lambda i, epoch, top1: made.on_trial_result(
        controller, trials[i], {"epoch": epoch, "top1": top1}
    )


def test_a_trial_that_was_let_pass_is_not_judged_again_in_another_order():
    _, tell = scheduler({0: 0, 1: 0})
    assert tell(0, 1, 0.5) == TrialScheduler.CONTINUE
    assert tell(1, 1, 0.25) == TrialScheduler.STOP

    _, tell = scheduler({0: 1, 1: 1})
    assert tell(0, 1, 0.5) == TrialScheduler.CONTINUE
    assert tell(1, 1, 0.25) == TrialScheduler.CONTINUE  # it had come first
    assert tell(0, 2, 0.5) == TrialScheduler.CONTINUE
    assert tell(1, 2, 0.25) == TrialScheduler.STOP


def test_what_was_judged_before_counts_for_those_that_come_now():
    _, tell = scheduler({0: 1, 1: 0})
    tell(0, 1, 0.5)
    assert tell(1, 1, 0.25) == TrialScheduler.STOP


def test_a_word_without_an_epoch_decides_nothing():
    controller, _ = scheduler({0: 0})
    made = _Asha({0: 0}, 120, metric="top1", mode="max", max_t=9, grace_period=1)
    trial = SimpleNamespace(trial_id="0", config={"number": 0})
    made.on_trial_add(controller, trial)
    assert made.on_trial_result(controller, trial, {}) == TrialScheduler.CONTINUE


def test_trials_that_are_stopped_at_the_end_have_the_time_of_a_checkpoint():
    from ray.tune.execution import tune_controller

    controller, _ = scheduler({0: 0})
    (name,) = vars(controller._tune_controller)
    with open(tune_controller.__file__) as source:  # noqa: PTH123
        assert f"self.{name}: int = 10" in source.read()
    assert getattr(controller._tune_controller, name) == pytest.approx(120)
