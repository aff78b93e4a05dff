"""Only what was registered is loaded, and it is looked at before it is run or fetched."""

import dataclasses
import json
import pickle
import shutil

import pytest
import yaml

from alexnet.adapters import mlflow_model
from alexnet.errors import ArtifactError
from alexnet.registry import artifact
from alexnet.registry.artifact import MAX_BYTES
from alexnet.registry.lineage import from_json, sha256
from tests.registry import candidate, trained_run
from tests.tiny_data import new_record


@pytest.fixture(scope="module")
def made(tiny_url, tmp_path_factory):
    """The files of a version."""
    folder = tmp_path_factory.mktemp("made")
    with trained_run(tiny_url, folder / "run", epochs=1) as run:
        record = new_record(run.config, run.manifest, "artifact")
        with mlflow_model.staged(candidate(run, record)) as (files, _):
            shutil.copytree(files, folder / "model")
    return folder / "model"


@pytest.fixture
def folder(made, tmp_path):
    """The same, to be spoilt."""
    return shutil.copytree(made, tmp_path / "model")


def listing(folder):
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }


def lineage_of(folder):
    return folder / "artifacts" / "lineage.json"


def check(folder):
    """As it was registered, whatever it was."""
    artifact.check_listing("alexnet version 3", listing(folder))
    return artifact.check("alexnet version 3", folder, sha256(lineage_of(folder).read_bytes()))


def register_anew(folder):
    """Let the lineage say that all files are as they should be, as one who attacks would."""
    made_from = from_json(lineage_of(folder).read_bytes())
    changed = dataclasses.replace(made_from, files=artifact.digests(folder))
    lineage_of(folder).write_bytes(changed.to_json())


@pytest.mark.slow
def test_what_was_made_passes(folder):
    assert check(folder).files == artifact.digests(folder)


@pytest.mark.parametrize("name", ["artifacts/weights.safetensors", "mlflow_served_model.py"])
def test_a_file_with_one_other_byte_is_refused_by_name(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=f"version 3: {name} is not the one that was registe"):
        check(folder)


def test_a_file_that_is_missing_is_refused_by_name(folder):
    (folder / "requirements.txt").unlink()
    with pytest.raises(ArtifactError, match=r"requirements.txt is not the one.*SHA-256 missing"):
        check(folder)


def test_another_lineage_than_the_registered_one_is_refused(folder):
    registered = sha256(lineage_of(folder).read_bytes())
    (folder / "MLmodel").write_text("flavors: {}")
    register_anew(folder)
    with pytest.raises(ArtifactError, match="lineage.json is not the one that was registered"):
        artifact.check("alexnet version 3", folder, registered)


@pytest.mark.parametrize(
    "name",
    [
        "artifacts/python_model.pkl",
        "code/alexnet/other.py",
        "../outside.txt",
        "artifacts/../../outside.txt",
        "/etc/passwd",
        "C:\\windows",
    ],
)
def test_a_name_that_no_version_has_is_refused_before_anything_is_fetched(made, name):
    listed = {**listing(made), name: 10}
    with pytest.raises(ArtifactError, match="which no version has. Nothing was loaded"):
        artifact.check_listing("alexnet version 3", listed)


@pytest.mark.parametrize("name", sorted(MAX_BYTES))
def test_a_file_that_is_too_large_is_refused_before_anything_is_fetched(made, name):
    listed = {**listing(made), name: MAX_BYTES[name] + 1}
    with pytest.raises(ArtifactError, match="Nothing was loaded"):
        artifact.check_listing("alexnet version 3", listed)


def test_a_version_without_lineage_is_refused(made):
    listed = listing(made)
    del listed["artifacts/lineage.json"]
    with pytest.raises(ArtifactError, match="has no artifacts/lineage.json"):
        artifact.check_listing("alexnet version 3", listed)


def pickled(flavor):
    flavor["python_model"] = "python_model.pkl"


def other_loader(flavor):
    flavor["loader_module"] = "mlflow.pyfunc.model"


def other_program(flavor):
    flavor["model_code_path"] = "../../outside.py"


def other_code(flavor):
    flavor["code"] = "../code"


def other_file(flavor):
    flavor["artifacts"]["weights"]["path"] = "../../../etc/passwd"


@pytest.mark.parametrize("spoil", [pickled, other_loader, other_program, other_code, other_file])
def test_a_description_that_leads_elsewhere_is_refused_though_its_digest_is_right(folder, spoil):
    tree = yaml.safe_load((folder / "MLmodel").read_text())
    spoil(tree["flavors"]["python_function"])
    (folder / "MLmodel").write_text(yaml.safe_dump(tree))
    register_anew(folder)
    with pytest.raises(ArtifactError, match="MLmodel does not load mlflow_served_model.py"):
        check(folder)


@pytest.mark.parametrize("text", ["", "flavors: 3", "a: [", "!!python/object/apply:os.abort []"])
def test_a_description_that_is_none_is_refused(folder, text):
    (folder / "MLmodel").write_text(text)
    register_anew(folder)
    with pytest.raises(ArtifactError, match="MLmodel: damaged"):
        check(folder)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", pickle.dumps({"schema": 1})])
def test_a_lineage_that_is_none_is_refused(folder, data):
    lineage_of(folder).write_bytes(data)
    with pytest.raises(ArtifactError, match="lineage.json: damaged"):
        check(folder)


def test_a_lineage_of_another_release_is_refused(folder):
    tree = json.loads(lineage_of(folder).read_text())
    lineage_of(folder).write_text(json.dumps({**tree, "schema": 99}))
    with pytest.raises(ArtifactError, match="schema 99; this code reads 1. Use the release"):
        check(folder)
