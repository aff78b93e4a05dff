"""Names that Prometheus takes, and that say what they are."""

import re
from collections import Counter

import pytest

from alexnet.telemetry import prometheus_metrics


def test_names_are_prometheus_own_and_no_two_are_the_same():
    names = Counter(each.series for each in prometheus_metrics.ALL)
    assert set(names.values()) == {1}
    for each in prometheus_metrics.ALL:
        assert re.fullmatch(r"alexnet(_[a-z0-9]+)+", each.name)
        assert re.fullmatch(r"(ray_)?" + each.name, each.series)


@pytest.mark.parametrize("measure", prometheus_metrics.ALL, ids=lambda each: each.name)
def test_a_measure_says_its_unit_and_what_it_is(measure):
    assert measure.help.endswith(".")
    assert "\n" not in measure.help
    assert measure.labels[:1] in (("run",), ("model",))
    assert all(re.fullmatch(r"[a-z]+", label) for label in measure.labels)
    assert ("_timestamp" in measure.name) == measure.name.endswith("_timestamp_seconds")
    assert not re.search("_(ms|mib|mb|hours|percent|per_s)(_|$)", measure.name)


def test_every_measure_of_the_page_is_in_the_list():
    made = [
        each
        for each in vars(prometheus_metrics).values()
        if isinstance(each, prometheus_metrics.Measure)
    ]
    assert list(prometheus_metrics.ALL) == made
    assert {each.source for each in prometheus_metrics.ALL} == {"training", "model"}
