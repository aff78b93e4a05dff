"""The tutorial is true: its commands do what it says."""

import signal

import pytest

from infra.documentation import tutorial
from infra.documentation.tutorial import missing, steps
from infra.programs import NotShownError

PAGE = tutorial.PAGE.read_text()


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_command_of_the_tutorial_does_what_it_says_in_a_fresh_clone(tmp_path):
    made = tutorial.clone(tmp_path)
    tutorial.link_environment(made)
    done = list(tutorial.perform(PAGE, made, tmp_path))
    assert len(done) == PAGE.count("```sh\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("```sh\nfalse\n```\n", "exit status 1, not 0"),
        ("```sh\nfalse\ntrue\n```\n", "exit status 1, not 0"),
        ("<!-- exit status 3 -->\n```sh\ntrue\n```\n", "exit status 0, not 3"),
        ("```sh\necho one\n```\n```text\ntwo\n```\n", "the page shows\ntwo"),
        ("```sh\nkept=1\n```\n```sh\n[ $kept ]\n```\n", "exit status 1, not 0"),
    ],
)
def test_a_page_that_is_not_true_is_found(page, message, tmp_path):
    with pytest.raises(NotShownError, match=message):
        list(tutorial.perform(page, tmp_path, tmp_path))


@pytest.mark.slow
def test_variables_go_on_from_one_block_to_the_next_and_ctrl_c_ends_a_command(tmp_path):
    page = (
        "```sh\nexport kept=1\n```\n\n```sh\necho kept is $kept\n```\n\n```text\nkept is 7\n```\n"
        "<!-- Ctrl-C after begun -->\n```sh\n"
        "python3 -c \"print('begun', flush=True); import signal; signal.pause()\"\n```\n"
    )
    assert len(list(tutorial.perform(page, tmp_path, tmp_path))) == 3


def test_a_page_is_read_as_steps():
    page = (
        "```sh\nfirst\n```\n\ntext\n\n```text\nsaid 1\n\n...\nsaid 2\n```\n"
        "<!-- Ctrl-C after epoch=3 -->\n```sh\nsecond\n```\n"
        "<!-- another terminal, until http://127.0.0.1:5000 answers -->\n```sh\nthird\n```\n"
    )
    first, second, third = steps(page)
    assert (first.commands, first.shown, first.status) == ("first\n", ("said 1", "said 2"), 0)
    assert (second.ctrl_c_after, second.status) == ("epoch=3", 128 + signal.SIGINT)
    assert third.until == "http://127.0.0.1:5000"


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("<!-- exits with 3 -->\n```sh\nx\n```\n", "line 1: 'exits with 3' is not a comment"),
        ("text\n```text\nx\n```\n", "line 2: a block that is neither"),
        ("```\nx\n```\n", "line 1: a block that is neither"),
    ],
)
def test_what_a_page_could_not_mean_is_refused(page, message):
    with pytest.raises(NotShownError, match=message):
        steps(page)


@pytest.mark.parametrize(
    ("shown", "output", "expected"),
    [
        (("top-1 0.9917",), "best  top-1 0.9\ntop-1 0.98\n", None),
        (("run 7b9c3bab3fb8 at x",), "run 0f1e2d3c4b5a at x", None),
        (("worst: 9 -0.0312",), "worst: 7 +0.0000", None),
        (("by ...", "p = 7.3e-51"), "by root@host\np = 1", None),
        (("one", "two"), "two\none\n", "two"),
        (("promoted",), "refused\n", "promoted"),
        (("version 3 promoted",), "version 3 promoted, but\n", "version 3 promoted"),
    ],
)
def test_output_is_compared_but_for_numbers_and_what_is_left_out(shown, output, expected):
    assert missing(shown, output) == expected
