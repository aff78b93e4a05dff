"""A page is made when it is asked for, and what is wrong is said to whoever asks."""

import socket
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from alexnet.adapters import prometheus_page
from alexnet.adapters.prometheus_page import Page
from alexnet.errors import ConfigError, TrackingError
from alexnet.telemetry import prometheus_metrics
from alexnet.telemetry.prometheus_metrics import Sample


@contextmanager
def served(make, every_s=0.0):
    server = prometheus_page.server("127.0.0.1", 0, Page(make, every_s))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def read(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


@pytest.mark.parametrize(("every_s", "expected"), [(0.0, ["1", "2"]), (3600.0, ["1", "1"])])
def test_a_text_is_made_anew_when_it_is_old(every_s, expected):
    numbers = iter("1234")
    with served(lambda: next(numbers), every_s) as url:
        assert [read(f"{url}/metrics") for _ in range(2)] == expected


def test_without_an_answer_there_is_a_reason_and_the_next_question_asks_again():
    answers = [TrackingError("MLflow does not answer"), "1"]

    def make():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with served(make, every_s=3600.0) as url:
        with pytest.raises(urllib.error.HTTPError, match="503") as refused:
            read(f"{url}/metrics")
        assert refused.value.read() == b"MLflow does not answer\n"
        assert read(f"{url}/metrics") == "1"


def test_there_is_no_other_page():
    with served(lambda: "1") as url, pytest.raises(urllib.error.HTTPError, match="404"):
        read(f"{url}/etc/passwd")


def test_a_place_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: cannot listen: Address"):
            prometheus_page.server("127.0.0.1", port, Page(str, 0))


def test_what_the_exporter_says_is_read_by_prometheus_own_parser():
    odd = 'a "quoted" \\ name\nof two lines'
    samples = [
        Sample(prometheus_metrics.CHAMPION, 7, {"model": odd}),
        Sample(prometheus_metrics.RETRAININGS, 2, {"model": "m", "outcome": "too long"}),
        Sample(prometheus_metrics.RETRAININGS, 1e-9, {"model": "m", "outcome": "promoted"}),
    ]
    one, two = text_string_to_metric_families(prometheus_page.exposition(samples))
    assert (one.type, two.type) == ("gauge", "counter")
    assert one.documentation == prometheus_metrics.CHAMPION.help
    read = [(each.name, each.value, each.labels) for each in [*one.samples, *two.samples]]
    assert read == [(each.measure.name, each.value, each.labels) for each in samples]
