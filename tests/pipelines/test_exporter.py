"""What the exporter refuses."""

import pytest

from pipelines import exporter


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--port=70000", "--port 70000: must be in [0, 65535]."),
        ("--every=-1", "--every -1: must be 0 or more seconds."),
    ],
)
def test_a_value_that_breaks_its_rule_is_named(option, message, capsys):
    assert exporter.main([option]) == 2
    assert capsys.readouterr().err == f"exporter: {message}\n"
