"""What an earlier release left in S3 and MLflow is read, gone on with and decided about today.

`tests/golden_release.py` says what is in the archive, and when another one is to be made.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from mlflow.tracking import MlflowClient
from prometheus_client.parser import text_string_to_metric_families
from safetensors.torch import load_file

from alexnet.adapters.mlflow_registry import Registry
from alexnet.adapters.object_store import open_store
from alexnet.promotion.decisions import DecisionLog
from alexnet.registry import probe
from pipelines import promote, verify
from tests import alone, golden_release
from tests.golden_release import said
from tests.golden_values import machine

pytestmark = pytest.mark.slow

LOGITS = probe.TOLERANCE
"""The same weights on processors of different makes."""

WEIGHTS = {"rtol": 1e-3, "atol": 1e-4}
"""Of a dozen steps on another processor or PyTorch, where sums are taken in another order. On the
same ones each bit must be the same."""

MODEL = "alexnet"


@dataclass
class Release:
    """An earlier release's remains, in a place where commands find them."""

    folder: Path
    expected: Any
    url: str = ""
    """Of MLflow; empty until it is restored, and after a test that has changed it."""

    def command(self, main, *arguments):
        """Exit status, and what it said."""
        found = said(main, *arguments, "--config", self.folder / "run.toml")
        return found["status"], "\n".join(found["says"])

    @property
    def aliases(self):
        return Registry(MODEL).aliases()

    @property
    def decisions(self):
        return DecisionLog(open_store(Registry(MODEL).decisions_url())).read()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    return Release(folder, golden_release.unpack(folder))


@pytest.fixture
def release(unpacked, s3_env, tmp_path, monkeypatch):
    """As it was left."""
    if not unpacked.url:
        unpacked.url = golden_release.restore(unpacked.folder, s3_env, tmp_path / "mlflow.db")
    for name, value in golden_release.surroundings(unpacked.url).items():
        monkeypatch.setenv(name, value)
    mlflow.set_tracking_uri(unpacked.url)
    return unpacked


@pytest.fixture
def changing(release):
    """The same for a test that changes it, after which it is restored."""
    yield release
    release.url = ""


def test_commands_say_of_an_earlier_releases_records_what_it_said_itself(release):
    found, expected = golden_release.look(release.folder), dict(release.expected["looked"])
    assert metrics(found.pop("exporter")) == metrics(expected.pop("exporter"))
    assert found == expected


def metrics(lines):
    """As Prometheus reads them, for whom the order of labels and `1e9` or `1000000000` are one."""
    return list(text_string_to_metric_families("\n".join(lines) + "\n"))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_earlier_version_answers_what_it_answered(release, number):
    logits = torch.tensor(golden_release.classify(release.folder, number))
    expected = torch.tensor(release.expected["logits"][str(number)])
    torch.testing.assert_close(logits, expected, rtol=0, atol=LOGITS)


def test_mlflow_loads_an_earlier_version_with_the_code_that_it_brings(release):
    found = golden_release.serve(release.folder, 2)
    expected = release.expected["served"]["2"]
    assert found["classes"] == expected["classes"]
    probabilities = (torch.tensor(each["probabilities"]) for each in (found, expected))
    torch.testing.assert_close(*probabilities, rtol=0, atol=LOGITS)


def test_every_earlier_version_is_still_what_was_registered(release):
    for name in ("champion", "previous", "challenger"):
        status, says = release.command(verify.main, name)
        assert (status, says.count("yes")) == (0, 4), says


def test_an_interrupted_run_goes_on_to_the_weights_that_the_release_would_have_reached(changing):
    release = changing
    before = torch.get_num_threads()
    torch.set_num_threads(release.expected["machine"]["threads"])
    try:
        ended = alone.train(golden_release.interrupted(release.folder))
    finally:
        torch.set_num_threads(before)
    assert ended.inputs.continued
    assert ended.events[0].step == golden_release.STOP_AFTER
    undisturbed = load_file(release.folder / "undisturbed.safetensors")
    check_weights(ended.network.state_dict(), undisturbed, exact=is_same_machine(release))
    assert (ended.version.number, ended.version.aliases) == (4, ("challenger",))
    run = MlflowClient().get_run(ended.version.run_id)
    assert (run.info.run_name, run.info.status) == ("interrupted", "FINISHED")
    history = MlflowClient().get_metric_history(ended.version.run_id, "data/batch_ids")
    assert sorted(point.step for point in history) == [*range(1, 1 + len(history))] or len(
        history
    ) == len({point.step for point in history})
    assert release.command(verify.main, "4")[0] == 0


def is_same_machine(release):
    """Whether bits are the same as where the archive was made."""
    known = dict(release.expected["machine"])
    here = machine() | {"model": golden_release.processor(), "threads": known["threads"]}
    return here == known


def check_weights(found, expected, *, exact):
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        if exact:
            assert torch.equal(found[name], tensor), name
        else:
            torch.testing.assert_close(found[name].contiguous(), tensor, **WEIGHTS)


def test_an_earlier_challenger_is_refused_again_then_forced_and_rolled_back(changing):
    release = changing
    refused = release.decisions[-1]
    aliases = release.aliases
    status, says = release.command(promote.main)
    assert (status, release.aliases) == (3, aliases), says
    assert "predictions of 48 images, as stored" in says
    again = release.decisions[-1]
    assert [rule(each) for each in again.verdicts] == [rule(each) for each in refused.verdicts]

    status, says = release.command(promote.main, "--force", "the light was bad")
    moved = {**aliases, "champion": 3, "previous": 2}
    assert (status, release.aliases) == (0, moved), says
    status, says = release.command(promote.main, "--rollback", "it was not the light")
    assert (status, release.aliases) == (0, aliases), says
    kinds = [each.kind for each in release.decisions[refused.number :]]
    assert kinds == ["refused", "promoted", "rolled back"]


MEASURED = ("loads in a fresh process", "latency of one image")


def rule(verdict):
    """A verdict without what is measured anew."""
    found = "" if verdict.rule in MEASURED else verdict.found
    return verdict.rule, found, verdict.wanted, verdict.holds
