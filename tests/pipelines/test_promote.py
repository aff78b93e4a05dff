"""A version becomes champion only by the rules, or by a person who says why; and can go back.

With MLflow on PostgreSQL; data, artifacts and decisions are in S3.
"""

import json
import re
import sys
import uuid
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from alexnet.adapters.mlflow_registry import Registry
from alexnet.adapters.object_store import open_store
from alexnet.dataset import shard_writer
from pipelines import promote, verify
from tests.commands import LENIENT, Commands
from tests.conftest import use_s3
from tests.registry import new_version, trained_run
from tests.tiny_data import NUM_TRAIN, NUM_VAL, colour_samples

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stays_connected")]


@pytest.fixture(scope="module")
def data_url(s3):
    """The tiny data set in S3."""
    url = f"s3://datasets/{uuid.uuid4().hex[:12]}"
    with pytest.MonkeyPatch.context() as patch:
        use_s3(patch, s3.env())
        splits = {
            "train": colour_samples("train", NUM_TRAIN),
            "val": colour_samples("val", NUM_VAL),
        }
        shard_writer.write_dataset(open_store(url), "tiny", ["red", "green", "blue"], splits, 20)
    return url


@pytest.fixture(scope="module")
def runs(s3, data_url, tmp_path_factory):
    """A run that has learnt hardly anything, and one that has learnt all."""
    with pytest.MonkeyPatch.context() as patch:
        use_s3(patch, s3.env())
        with (
            trained_run(data_url, tmp_path_factory.mktemp("weak"), epochs=1) as weak,
            trained_run(data_url, tmp_path_factory.mktemp("strong"), epochs=12) as strong,
        ):
            assert weak.best.metrics["top1"] < 0.7
            assert strong.best.metrics["top1"] > 0.95
            yield weak, strong


class Promoting(Commands):
    """A registered model of its own, and the commands that are given about it."""

    def __init__(self, name, decisions_url, capfd):
        self.name, self.decisions_url = name, decisions_url
        super().__init__(capfd)
        self.client = MlflowClient()

    def register(self, run):
        return new_version(run, self.name, self.decisions_url).number

    def promote(self, *arguments):
        return self.call(promote.main, self._on_model(arguments))

    def verify(self, *arguments):
        return self.call(verify.main, self._on_model(arguments))

    def _on_model(self, arguments):
        return [*arguments, f"--set=registry.model_name={self.name}", *LENIENT]

    def aliases(self):
        return Registry(self.name).aliases()


@pytest.fixture
def tracked(mlflow_on_postgres, s3_env, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_on_postgres)


@pytest.fixture
def model(tracked, bucket_url, capfd):
    return Promoting(new_name(), bucket_url, capfd)


def new_name():
    return f"m-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def kept(mlflow_on_postgres, s3, runs):
    """Name and folder of a model with a good version, which nothing is decided about."""
    name, url = new_name(), f"s3://datasets/{uuid.uuid4().hex[:12]}"
    with pytest.MonkeyPatch.context() as patch:
        use_s3(patch, s3.env())
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_on_postgres)
        new_version(runs[1], name, url)
    return name, url


@pytest.fixture
def undecided(tracked, kept, capfd):
    """The same, for tests that leave it as it is."""
    made = Promoting(*kept, capfd)
    yield made
    assert open_store(made.decisions_url).list() == []
    assert made.aliases() == {"challenger": 1}


def test_refuse_force_promote_roll_back_and_refuse_again(model, runs):
    weak, strong = runs
    model.register(weak)
    status, said = model.promote()
    assert (status, model.aliases()) == (3, {"challenger": 1})
    assert re.search(r"refused by: .*better than one answer.*; decision 1", said)
    status, said = model.promote("--force", "the first one")
    assert (status, model.aliases()["champion"]) == (0, 1)
    assert "version 1: is champion by force, against: " in said
    assert "as stored" in said

    model.register(strong)
    status, said = model.promote()
    assert (status, model.aliases()) == (0, {"champion": 2, "previous": 1, "challenger": 2})
    assert "version 2: is champion; decision 3" in said

    model.register(strong)  # no better than the champion
    status, said = model.promote()
    assert (status, model.aliases()["champion"]) == (3, 2)
    assert "0 images gained, 0 lost: p = 1" in said
    assert "refused by: more than chance; decision 4" in said

    status, said = model.promote("--rollback", "worse in use")
    assert (status, model.aliases()) == (0, {"champion": 1, "challenger": 3})
    status, said = model.promote("2")
    assert (status, model.aliases()["champion"]) == (3, 1)
    assert "refused by: rolled back before; decision 6" in said

    status, said = model.promote("--history")
    kinds = [re.search(r"version \d (.*?), champion", line)[1] for line in said.splitlines()]
    assert kinds == ["refused", "promoted", "promoted", "refused", "rolled back", "refused"]
    assert "the first one" in said


def test_a_decision_is_written_on_the_version_as_tags_json_and_a_page(model, runs):
    weak, strong = runs
    model.register(weak)
    model.promote("--force", "first")
    model.register(strong)
    model.promote()
    version = model.client.get_model_version(model.name, "2")
    assert version.tags["decision"] == "promoted (decision 2)"
    assert version.tags["gate.gain_in_top-1"].startswith("yes: 0.")
    assert version.tags["gate.loads_in_a_fresh_process"].startswith("yes: logits differ by")
    files = [
        model.client.download_artifacts(version.run_id, f"decisions/000002.{kind}")
        for kind in ("json", "html")
    ]
    tree = json.loads(Path(files[0]).read_text())
    assert (tree["kind"], tree["version"], tree["before"]) == ("promoted", 2, [1, None])
    assert all(verdict["holds"] for verdict in tree["verdicts"])
    page = Path(files[1]).read_text()
    assert "Right now, and wrong before" in page
    gained = int(re.search(r"(\d+) images gained", page)[1])
    assert page.count("<img ") == min(24, gained) > 4


def test_a_dry_run_writes_nothing(undecided):
    before = undecided.client.get_model_version(undecided.name, "1").tags
    status, said = undecided.promote("--dry-run")
    assert status == 0
    assert "version 1: would be promoted" in said
    assert undecided.client.get_model_version(undecided.name, "1").tags == before
    assert undecided.promote("--history") == (0, "nothing was decided yet\n")


def test_where_approval_is_required_a_person_has_the_last_word(model, runs):
    model.register(runs[1])
    for _ in range(2):
        status, said = model.promote("--require-approval")
        assert (status, model.aliases()) == (4, {"challenger": 1})
        assert "Set its tag approval to approved in MLflow" in said
    model.client.set_model_version_tag(model.name, "1", "approval", "approved")
    status, _ = model.promote("--require-approval")
    assert (status, model.aliases()["champion"]) == (0, 1)


@pytest.mark.proof
def test_an_approval_is_not_good_against_another_champion(model, runs):
    weak, strong = runs
    for run in (weak, strong, strong):
        model.register(run)
    model.promote("1", "--force", "first")
    assert model.promote("3", "--require-approval")[0] == 4
    model.client.set_model_version_tag(model.name, "3", "approval", "approved")
    model.promote("2")
    status, _ = model.promote("3", "--require-approval", "--force", "try")
    assert (status, model.aliases()["champion"]) == (4, 2)


def test_a_hook_is_told_of_each_decision_and_cannot_undo_one(model, runs, tmp_path):
    model.register(runs[1])
    code = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read()); sys.exit(3)"
    told = tmp_path / "told"
    hook = json.dumps([sys.executable, "-c", code, str(told)])
    status, said = model.promote(f"--set=registry.on_decision={hook}")
    assert (status, model.aliases()["champion"]) == (0, 1)
    assert json.loads(told.read_text())["kind"] == "promoted"
    assert "exit status 3. The decision stands." in said


def test_weights_that_were_changed_are_refused(model, runs, s3):
    model.register(runs[1])
    (key,) = keys(s3, model, "weights.safetensors")
    body = bytearray(s3.client().get_object(Bucket="mlflow", Key=key)["Body"].read())
    body[-1] ^= 1
    s3.client().put_object(Bucket="mlflow", Key=key, Body=bytes(body))
    status, said = model.promote("--force", "whatever")
    assert (status, model.aliases()) == (2, {"challenger": 1})
    assert said.count("\n") == 1
    assert "artifacts/weights.safetensors is not the one that was registered" in said
    status, said = model.verify("1")
    assert status == 3
    assert "does not hold any more: files" in said


def test_a_pickle_in_a_version_is_refused_in_one_line(model, runs, s3):
    model.register(runs[1])
    (key,) = keys(s3, model, "about.json")
    planted = key.replace("about.json", "python_model.pkl")
    s3.client().put_object(Bucket="mlflow", Key=planted, Body=b"cos\nsystem\n(S'false'\ntR.")
    status, said = model.promote()
    assert (status, model.aliases()) == (2, {"challenger": 1})
    assert said.count("\n") == 1
    assert "has a file 'artifacts/python_model.pkl', which no version has" in said


def keys(s3, model, name):
    source = model.client.get_model_version(model.name, "1").source.removeprefix("models:/")
    pages = s3.client().get_paginator("list_objects_v2").paginate(Bucket="mlflow")
    listed = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    return [key for key in listed if source in key and key.endswith(name)]


def test_a_version_that_no_training_has_registered_is_refused(model, runs):
    model.register(runs[1])
    run = model.client.create_run("0").info.run_id
    model.client.create_model_version(model.name, "s3://mlflow/elsewhere", run)
    status, said = model.promote("2")
    assert (status, said.count("\n")) == (2, 1)
    assert "version 2: has no tag lineage_sha256, so no training of this pipeline" in said


def test_verify_names_what_does_not_hold_any_more(model, runs, data_url, s3):
    model.register(runs[1])
    status, said = model.verify("challenger")
    assert (status, said.count("yes")) == (0, 4)
    status, said = model.verify("challenger", "--full")
    assert status == 0
    assert "its data is there (every byte)" in said
    bucket, _, prefix = data_url.removeprefix("s3://").partition("/")
    key = f"{prefix}/train-000002.tar"
    whole = s3.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    altered = bytes([*whole[:700], whole[700] ^ 1, *whole[701:]])
    try:
        s3.client().put_object(Bucket=bucket, Key=key, Body=altered)
        assert model.verify("1")[0] == 0
        status, said = model.verify("1", "--full")
        assert status == 3
        assert "train-000002.tar was altered: its SHA-256 is another one" in said
        s3.client().delete_object(Bucket=bucket, Key=key)
        status, said = model.verify("1")
        assert status == 3
        assert "train-000002.tar is missing" in said
        status, said = model.promote()
        assert status == 3
        assert "refused by: lineage" in said
    finally:
        s3.client().put_object(Bucket=bucket, Key=key, Body=whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody"], "version nobody: "),
        (["77"], "version 77: "),
        (["--rollback", "why not"], "none before it to go back to"),
        (["--rollback", " "], "--rollback: the reason is empty"),
        (["--force", ""], "--force: the reason is empty"),
        (["--data", "s3://datasets/none"], "s3://datasets/none"),
        (["--set=gate.alpha=7"], "gate.alpha = 7"),
    ],
)
def test_what_a_user_can_mend_is_said_in_one_line(undecided, arguments, message):
    status, said = undecided.promote(*arguments)
    assert (status, said.count("\n")) == (2, 1)
    assert said.startswith("promote: ")
    assert message in said


def test_a_registered_model_that_does_not_exist_is_said(model):
    status, said = model.promote()
    assert (status, said.count("\n")) == (2, 1)
    assert f"registered model {model.name}" in said
