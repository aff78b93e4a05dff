"""The current time in milliseconds as records keep it, and times formatted for people."""

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """Now, in milliseconds since 1970."""
    return time.time_ns() // 10**6


def readable(time_ms: int) -> str:
    """Milliseconds since 1970 as a date and time for people."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
