"""Runs work in a background thread, so that the main thread stays free to handle signals."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

T = TypeVar("T")


def begin(name: str, work: Callable[[], T]) -> "Future[T]":
    """Do work in a thread of this name, which the end of the process does not wait for."""
    result: Future[T] = Future()

    def resolve() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=resolve, name=name, daemon=True).start()
    return result


class Talking(Generic[T]):
    """Work that says something while it is done."""

    def __init__(self, name: str, work: Callable[[Callable[[T], None]], None]) -> None:
        """Begin; `work` gets a function that takes what it says."""
        self._said: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._result = begin(name, lambda: work(self._said.put))

    def next(self, patience_s: float) -> T | None:
        """What it says next; None if that takes longer. What it raises is raised here."""
        try:
            return self._said.get(timeout=patience_s)
        except queue.Empty:
            return self._result.result() if self._result.done() else None

    def join(self) -> None:
        """Wait for its end, however that is."""
        wait([self._result])
