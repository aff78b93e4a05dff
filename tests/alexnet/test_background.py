"""Work in a thread is waited for with patience, and what it raises is not lost."""

import threading

import pytest

from alexnet import background
from alexnet.background import Talking


def test_the_result_of_work_is_waited_for_and_so_is_what_it_raises():
    assert background.begin("sum", lambda: 1 + 1).result() == 2
    with pytest.raises(ZeroDivisionError):
        background.begin("share", lambda: 1 / 0).result()


def test_what_work_says_comes_in_order_and_silence_is_not_waited_for():
    heard = threading.Event()

    def work(say):
        say(1)
        say(2)
        heard.wait()
        say(3)

    talking = Talking("talk", work)
    assert [talking.next(10), talking.next(10), talking.next(0.01)] == [1, 2, None]
    heard.set()
    assert talking.next(10) == 3
    talking.join()
    assert talking.next(0.01) is None


def test_what_was_said_before_an_error_is_heard_before_it_is_raised():
    def work(say):
        say(1)
        raise ValueError("no more")

    talking = Talking("talk", work)
    talking.join()
    assert talking.next(0) == 1
    with pytest.raises(ValueError, match="no more"):
        talking.next(0)
