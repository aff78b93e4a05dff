"""The scheduled times of retrainings: the next one, and the name of the job for one of them."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from croniter import croniter

from alexnet.errors import ConfigError


def next_after(cron: str, timezone: str, now: datetime) -> datetime:
    """The first tick after a moment, in UTC.

    Args:
        cron: five fields, such as `0 3 * * 1`, which `RetrainConfig` has checked.
        timezone: in whose clock, such as `Europe/Berlin`.
        now: the moment, with its time zone.
    """
    local = now.astimezone(ZoneInfo(timezone))
    tick: datetime = croniter(cron, local).get_next(datetime)
    return tick.astimezone(UTC)


def parse(text: str, now: datetime) -> datetime:
    """The minute of a tick in ISO 8601 with a time zone, in UTC; of `now` if it is empty.

    Raises:
        ConfigError: it is no time, or has no time zone.
    """
    try:
        tick = datetime.fromisoformat(text) if text else now
    except ValueError:
        tick = datetime.min
    if tick.tzinfo is None:
        raise ConfigError(
            f"--tick {text}: must be a time with its zone, such as 2026-11-30T03:00Z."
        )
    return tick.astimezone(UTC).replace(second=0, microsecond=0)


def job_name(model: str, tick: datetime, attempt: int) -> str:
    """What the job for a tick is called, by whomever it is submitted.

    Args:
        model: the registered model.
        tick: from `parse`.
        attempt: from 1; another is made only after one that has ended in failure.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", model)
    again = f"-try{attempt}" if attempt > 1 else ""
    return f"retrain-{plain}-{tick:%Y%m%dT%H%MZ}{again}"
