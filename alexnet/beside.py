"""Work beside the main thread, which must be free to hear of signals."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

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
