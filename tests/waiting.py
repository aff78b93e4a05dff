"""Waiting for what must come."""

import time


def wait_until(condition, patience_s=60):
    """Poll until it holds; a test fails if it does not in time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "in vain waited"
        time.sleep(0.01)
