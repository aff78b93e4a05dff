"""Columns of a table stand one under the other, whatever is known of a line."""

from alexnet.registry.rule_result import RuleResult
from alexnet.search.record import Epoch, Trial
from pipelines.steps import text_table


def test_the_table_of_trials_has_a_line_for_each_whatever_is_known_of_it():
    found = [
        Trial(number=0, run_name="", values={}, outcome="finished", epochs=(Epoch(1, 0.5, 1.0),)),
        Trial(number=1, run_name="", values={"lr": 0.25}),
        Trial(number=2, run_name="", values={"d": 1}, outcome="failed"),
    ]
    lines = text_table.trials(found)
    assert [line.split() for line in lines] == [
        ["trial", "outcome", "epochs", "top-1", "loss", "lr", "d"],
        ["0", "finished", "1", "0.5000", "1.0000", *["as", "it", "is", "as", "it", "is"]],
        ["1", "not", "ended", "0", "-", "-", "0.25", "as", "it", "is"],
        ["2", "failed", "0", "-", "-", "as", "it", "is", "1"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_the_table_of_rules_says_what_was_found_and_wanted_and_shouts_what_does_not_hold():
    results = [
        RuleResult("top-1", "0.5000", "at least 0.9", holds=False),
        RuleResult("images", "1000", "16", holds=True),
    ]
    assert text_table.rules(results).splitlines() == [
        "rule    found   wanted",
        "top-1   0.5000  at least 0.9  NO",
        "images  1000    16            yes",
    ]
