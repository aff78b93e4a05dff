"""A parallel map over the CPUs of the Ray cluster."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import ray
from ray.exceptions import RayTaskError

from alexnet.errors import AlexNetError, ClusterError, first_line

Item = TypeVar("Item")
Result = TypeVar("Result")

TASKS_PER_CPU = 2
"""Under way or waiting, so that no CPU waits for this process to hand out the next."""

MAX_RETRIES = 3
"""Of a task whose process or node died; parts can be done twice, for they write the same bytes."""


def spread(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in the order in which they are ready; items are taken as tasks are handed out.

    Args:
        function: runs in another process, maybe on another node.
        items: one a task; small, because they travel.

    Raises:
        AlexNetError: what `function` raised, if the user can fix it.
        ClusterError: a task's process died more often than `MAX_RETRIES`.
    """
    task: Any = ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(_call)
    shared = ray.put(function)
    cpus = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    waiting = iter(items)
    running: list[Any] = []
    try:
        while True:
            for item in waiting:
                running.append(task.remote(shared, item))
                if len(running) >= TASKS_PER_CPU * cpus:
                    break
            if not running:
                return
            ready, running = ray.wait(running, num_returns=1)
            yield _result(ready[0])
    finally:
        for each in running:
            ray.cancel(each)


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, AlexNetError):
            raise error.cause from error
        raise
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"a task died {MAX_RETRIES + 1} times: {first_line(error)} Its log is in Ray's session "
            "folder."
        ) from error
