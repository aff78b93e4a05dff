"""The drills that CI has time for, and what they stand on."""

import json
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


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_drills_pass_that_ci_has_time_for(tmp_path, monkeypatch, capsys):
    results = tmp_path / "drills.jsonl"
    monkeypatch.setattr(drills, "RESULTS", results)
    names = ["kill-anything", "sigterm", "preemption", "mlflow-down-for-good", "storage-full"]
    with surroundings(tmp_path) as place:
        found = [drills.perform(name, 1, place) for name in names]
    assert [(each.name, each.passed) for each in found] == [(name, 1) for name in names]
    assert drills.table(found).count("1 of 1") == len(names)
    assert json.dumps([each.steps_redone for each in found])
