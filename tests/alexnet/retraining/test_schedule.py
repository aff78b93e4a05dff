"""When a schedule's next tick is, and what its job is called."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.config import RetrainConfig
from alexnet.errors import ConfigError
from alexnet.retraining import schedule

TIMES = st.datetimes(
    min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1), timezones=st.just(UTC)
)


@given(TIMES)
def test_the_next_tick_of_every_week_is_the_first_such_time_after_now(now):
    tick = schedule.next_after("17 3 * * 1", "UTC", now)
    assert (tick.weekday(), tick.hour, tick.minute, tick.second) == (0, 3, 17, 0)
    assert timedelta(0) < tick - now <= timedelta(days=7)


def test_the_hour_is_that_of_the_time_zone_in_summer_and_in_winter():
    summer, winter = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    hours = [
        schedule.next_after("0 3 * * *", "Europe/Berlin", day).hour for day in (summer, winter)
    ]
    assert hours == [1, 2]


@given(TIMES, st.integers(-12, 12))
def test_a_minute_has_one_name_in_every_time_zone(time, hours):
    elsewhere = time.astimezone(timezone(timedelta(hours=hours)))
    names = {
        schedule.job_name("alexnet", schedule.parse(each.isoformat(), time), 1)
        for each in (time, elsewhere, time.replace(second=0, microsecond=0))
    }
    assert names == {f"retrain-alexnet-{time:%Y%m%dT%H%MZ}"}


def test_another_try_and_another_model_have_other_names():
    tick = datetime(2026, 11, 30, 3, 17, tzinfo=UTC)
    assert schedule.job_name("a model/x", tick, 2) == "retrain-a-model-x-20261130T0317Z-try2"


@pytest.mark.parametrize("text", ["tomorrow", "2026-11-30T03:00", "2026-13-01T00:00Z"])
def test_a_tick_that_is_no_time_with_a_zone_is_refused(text):
    with pytest.raises(ConfigError, match=rf"--tick {text}: must be a time with its zone"):
        schedule.parse(text, datetime.now(UTC))


@pytest.mark.parametrize("cron", ["weekly", "0 3 * *", "0 25 * * 1", "* * * * * *"])
def test_a_schedule_that_is_no_cron_is_refused(cron):
    with pytest.raises(ConfigError, match=r"retrain\.schedule = .*: must be five fields of cron"):
        RetrainConfig(schedule=cron)


@pytest.mark.parametrize("name", ["", "Europe/Atlantis", "../etc/passwd", "/etc/localtime"])
def test_a_time_zone_that_does_not_exist_is_refused(name):
    with pytest.raises(ConfigError, match=r"retrain\.timezone = .*: must be a time zone"):
        RetrainConfig(timezone=name)
