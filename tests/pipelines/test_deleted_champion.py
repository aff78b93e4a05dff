"""An alias whose version is gone, as some of MLflow's servers leave it, counts as moved by hand."""

import sqlite3

import pytest
from mlflow.tracking import MlflowClient

from infra import servers
from pipelines import promote, status
from tests.commands import LENIENT, Commands
from tests.registry import new_version, trained_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stays_connected")]


@pytest.fixture
def mlflow(tmp_path, s3_env, monkeypatch):
    """A server on SQLite, and its database."""
    with servers.mlflow_server(tmp_path / "mlflow", s3_env.env()) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        yield url, tmp_path / "mlflow" / "mlflow.db"


def test_a_champion_that_was_deleted_is_noted_and_the_next_is_judged(
    mlflow, tiny_url, tmp_path, capfd
):
    url, database = mlflow
    commands, on_tiny = Commands(capfd), ["--set=registry.model_name=tiny", *LENIENT]
    with trained_run(tiny_url, tmp_path / "run", epochs=12) as run:
        for _ in range(2):
            new_version(run, "tiny", str(tmp_path / "decisions"))
    assert commands.call(promote.main, ["1", "--force", "the first", *on_tiny])[0] == 0
    assert commands.call(promote.main, ["2", "--force", "the next", *on_tiny])[0] == 0
    MlflowClient(url).delete_model_version("tiny", "2")
    with sqlite3.connect(database) as connection:
        row = ("champion", 2, "tiny", "default")
        connection.execute(
            "INSERT INTO registered_model_aliases (alias, version, name, workspace) "
            "VALUES (?, ?, ?, ?)",
            row,
        )
    connection.close()
    assert MlflowClient(url).get_registered_model("tiny").aliases["champion"] == "2"

    commands.use_tiny(tmp_path, tiny_url)
    shown, said = commands.call(status.main, [str(commands.file), on_tiny[0]])
    assert (shown, "champion    none" in said) == (0, True), said
    result, said = commands.call(promote.main, ["1", *on_tiny])
    assert "alias champion was moved by hand from 2 to None; noted" in said
    assert "tiny version 1: is champion; decision 4" in said
    assert result == 0
    assert MlflowClient(url).get_registered_model("tiny").aliases["champion"] == "1"
