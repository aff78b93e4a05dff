"""Parts are done once each, a few at a time, and a dead worker costs nothing but its part."""

import os
import signal
from pathlib import Path

import pytest

from alexnet.adapters.ray_tasks import spread
from alexnet.errors import ClusterError, DataError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stays_connected")]


def test_every_item_gives_its_result_and_items_are_taken_a_few_at_a_time():
    taken = []

    def items():
        for number in range(30):
            taken.append(number)
            yield number

    results = spread(lambda number: number * number, items())
    first = next(results)
    assert len(taken) < 10
    assert sorted([first, *results]) == [number * number for number in range(30)]


def test_what_the_user_can_mend_arrives_as_itself():
    def refuse(number):
        raise DataError(f"{number}: broken")

    with pytest.raises(DataError, match="7: broken"):
        list(spread(refuse, [7]))


def test_a_killed_process_is_tried_again(tmp_path):
    def die_once(path):
        mark = Path(path)
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "done"

    assert list(spread(die_once, [str(tmp_path / "mark")])) == ["done"]


def test_a_process_that_always_dies_is_said_in_one_line():
    def die(number):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ClusterError, match="a task died 4 times") as caught:
        list(spread(die, [1]))
    assert "\n" not in str(caught.value)
