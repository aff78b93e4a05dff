"""Every drill, and what the drills stand on."""

import urllib.error
import urllib.request

import pytest

from infra.drills import __main__ as drills
from infra.drills.gate import gate
from infra.drills.surroundings import last_step, surroundings


@pytest.mark.slow
def test_behind_a_gate_that_is_shut_a_server_is_away_and_keeps_its_data(mlflow_url):
    def answers(url):
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=20) as answer:
                return answer.status == 200
        except OSError:
            return False

    with gate(mlflow_url) as door:
        assert answers(door.url)
        door.shut()
        assert not answers(door.url)
        assert answers(mlflow_url)
        door.open()
        assert answers(door.url)


def test_the_last_step_is_that_of_the_last_line():
    assert last_step("run=x\nstep=1/9 a\nstep=12/99 b\nlost: step=7") == 12
    assert last_step("") == 0


@pytest.mark.parametrize("options", [["--only=nothing"], ["--runs=-1"]])
def test_a_wrong_option_is_refused_with_the_choice(options, capsys):
    with pytest.raises(SystemExit, match="2"):
        drills.main(options)
    assert "must be" in capsys.readouterr().err


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with surroundings(tmp_path_factory.mktemp("drills")) as made:
        yield made


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", drills.DRILLS)
def test_a_drill_passes_each_time(name, place):
    runs = drills.RUNS.get(name, 1)
    found = drills.perform(name, runs, place)
    assert (found.passed, found.steps_redone >= 0) == (runs, True)
    assert f"{runs} of {runs}" in drills.table([found])
