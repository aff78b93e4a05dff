"""What a failure cost is what had to be done again, and the time until it went on."""

import time

from alexnet.runs.lost_work import LostWorkAccount
from alexnet.runs.run_record import LostWork
from alexnet.telemetry.events import Event

BEGAN = 1_700_000_000_000


def event(kind, step, seconds, resumed_from=None):
    since = None if resumed_from is None else BEGAN + 1000 * resumed_from
    return Event(
        kind=kind,
        step=step,
        steps=100,
        epoch=0.0,
        time_ms=BEGAN + 1000 * seconds,
        resumed_from_ms=since,
    )


def losses(account, events):
    return [lost for each in events if (lost := account.see(each))]


def test_an_undisturbed_run_has_lost_nothing():
    assert not losses(LostWorkAccount(), [event("started", 0, 0), event("progress", 50, 10)])


def test_a_run_that_was_stopped_and_goes_on_has_lost_nothing():
    assert not losses(LostWorkAccount(), [event("started", 50, 1000, resumed_from=10)])


def test_a_restart_costs_the_steps_since_the_checkpoint_and_the_time_since_then():
    account = LostWorkAccount()
    assert not losses(account, [event("started", 0, 0), event("progress", 50, 10)])
    failed = Event(kind="failed", step=0, steps=0, epoch=0.0, text="worker 1: killed")
    assert account.see(failed) is None
    (lost,) = losses(account, [event("started", 40, 25, resumed_from=8)])
    assert lost == LostWork("worker 1: killed", 40, 10, 17.0)
    assert not losses(account, [event("progress", 60, 40)])


def test_a_restart_without_a_checkpoint_costs_all_of_it():
    account = LostWorkAccount()
    (lost,) = losses(
        account,
        [event("started", 0, 0), event("progress", 7, 10), event("started", 0, 30)],
    )
    assert (lost.steps_redone, lost.seconds) == (7, 30.0)
    assert lost.reason == "workers were added or taken away"


def test_two_failures_at_the_same_place_are_two():
    account = LostWorkAccount()
    started = event("started", 0, 0)
    assert len(losses(account, [started, event("progress", 9, 1), started, started])) == 2


def test_a_command_that_was_killed_costs_no_pause_between_it_and_the_next():
    now_ms = time.time_ns() // 10**6
    hour_ago = now_ms - 3_600_000
    account = LostWorkAccount.after(90, hour_ago, "the command was killed")
    resumed = Event(
        kind="started",
        step=80,
        steps=100,
        epoch=0.0,
        time_ms=now_ms + 5_000,
        resumed_from_ms=hour_ago - 2_000,
    )
    lost = account.see(resumed)
    assert (lost.reason, lost.steps_redone) == ("the command was killed", 10)
    assert 6 < lost.seconds < 8  # 2 s of training, 5 s to start


def test_a_command_that_was_stopped_in_time_has_lost_nothing_and_one_that_was_not_its_steps():
    for reached, expected in ((50, []), (53, [(50, 3)])):
        account = LostWorkAccount.after(reached, BEGAN, "")
        found = losses(account, [event("started", 50, 1000, resumed_from=10)])
        assert [(lost.resumed_at, lost.steps_redone) for lost in found] == expected
        assert all("before its last steps were in a checkpoint" in lost.reason for lost in found)


def test_time_is_lost_once():
    account = LostWorkAccount()
    events = [
        event("started", 40, 1000, resumed_from=0),  # by a command of its own, much later
        event("progress", 45, 1010),
        event("started", 40, 1020, resumed_from=0),
        event("started", 40, 1050, resumed_from=0),
    ]
    assert [lost.seconds for lost in losses(account, events)] == [20.0, 30.0]
