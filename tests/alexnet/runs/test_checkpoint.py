"""A checkpoint is complete or refused, and nothing but tensors is unpickled."""

import dataclasses
import json
import pickle

import pytest
import torch

from alexnet.config import json_digest
from alexnet.errors import CheckpointError
from alexnet.runs import checkpoint
from alexnet.runs.checkpoint import CheckpointMeta, CheckpointState

META = CheckpointMeta(
    step=7,
    images_seen=84,
    time_ms=1_700_000_000_000,
    identity={"train.seed": 0, "augment.crop_area": [0.08, 1.0]},
    manifest_digest="d" * 64,
    metrics={"top1": 0.5, "top5": 0.9, "loss": 1.5},
)


@pytest.fixture
def folder(tmp_path):
    checkpoint.write(tmp_path, META, state())
    return tmp_path


def state():
    return CheckpointState(model={"w": torch.arange(3.0)}, optimizer={"state": {}})


def test_what_was_written_is_read(folder):
    read = checkpoint.read_meta(folder)
    assert dataclasses.replace(read, sha256="") == META
    assert torch.equal(checkpoint.read_state(folder)["model"]["w"], torch.arange(3.0))


def test_a_snapshot_does_not_follow_training():
    live = state()
    copied = checkpoint.snapshot(live)
    live["model"]["w"] += 1
    assert torch.equal(copied["model"]["w"], torch.arange(3.0))


def test_without_meta_it_was_never_completed(folder):
    (folder / "meta.json").unlink()
    with pytest.raises(CheckpointError, match="no meta.json, so this checkpoint was never"):
        checkpoint.read_meta(folder)


def test_another_schema_is_refused_by_number(folder):
    tree = json.loads((folder / "meta.json").read_text()) | {"schema": 9}
    (folder / "meta.json").write_text(json.dumps(tree))
    with pytest.raises(CheckpointError, match="schema 9; this code reads 2"):
        checkpoint.read_meta(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 2}', '{"schema": 2, "x": [1]}'])
def test_a_damaged_meta_is_refused(folder, text):
    (folder / "meta.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"meta\.json: damaged"):
        checkpoint.read_meta(folder)


def test_an_altered_field_is_refused(folder):
    text = (folder / "meta.json").read_text()
    for old, new in (("0.5", "0.6"), ("84", "94"), ("train.seed", "train.Seed")):
        (folder / "meta.json").write_text(text.replace(old, new))
        with pytest.raises(CheckpointError, match=r"meta\.json: damaged"):
            checkpoint.read_meta(folder)


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_a_cut_file_is_refused(folder, keep):
    path = folder / "state.pt"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"state\.pt: damaged"):
        checkpoint.read_state(folder)


def test_a_flipped_bit_anywhere_is_refused(folder):
    path = folder / "state.pt"
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match=r"state\.pt: damaged"):
            checkpoint.read_state(folder)


class Malicious:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_is_not_executed(folder, capsys):
    (folder / "state.pt").write_bytes(pickle.dumps(Malicious()))
    digest = checkpoint._digest(folder / "state.pt")
    meta = dataclasses.asdict(dataclasses.replace(META, sha256=digest))
    meta["digest"] = json_digest(meta)
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.read_state(folder)
    assert "executed" not in capsys.readouterr().out


def test_a_full_disk_is_said_and_leaves_no_complete_checkpoint(tmp_path):
    (tmp_path / "state.pt").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match="cannot write a checkpoint: .*No space left"):
        checkpoint.write(tmp_path, META, state())
    with pytest.raises(CheckpointError, match="never completed"):
        checkpoint.read_meta(tmp_path)


def test_another_run_is_refused_with_each_difference():
    identity = {**META.identity, "train.seed": 1, "train.epochs": 9}
    message = (
        r"^here: of another run: manifest = 'd{12}' there, 'e{12}' here, train.epochs = 'none' "
        r"there, 9 here, train.seed = 0 there, 1 here\."
    )
    with pytest.raises(CheckpointError, match=message):
        checkpoint.check_same_run(META, identity, "e" * 64, "here")
