"""A checkpoint is complete or refused, and nothing but tensors is unpickled."""

import json
import pickle

import pytest
import torch

from alexnet import checkpoint
from alexnet.checkpoint import CheckpointMeta, CheckpointState
from alexnet.errors import CheckpointError

META = CheckpointMeta(
    step=7, images_seen=84, config_digest="c" * 64, manifest_digest="d" * 64, top1=0.5
)


@pytest.fixture
def folder(tmp_path):
    checkpoint.write(tmp_path, META, state())
    return tmp_path


def state():
    return CheckpointState(model={"w": torch.arange(3.0)}, optimizer={"state": {}})


def test_what_was_written_is_read(folder):
    assert checkpoint.read_meta(folder) == META
    assert torch.equal(checkpoint.read_state(folder)["model"]["w"], torch.arange(3.0))


def test_without_meta_it_was_never_completed(folder):
    (folder / "meta.json").unlink()
    with pytest.raises(CheckpointError, match="no meta.json, so this checkpoint was never"):
        checkpoint.read_meta(folder)


def test_another_schema_is_refused_by_number(folder):
    tree = json.loads((folder / "meta.json").read_text()) | {"schema": 9}
    (folder / "meta.json").write_text(json.dumps(tree))
    with pytest.raises(CheckpointError, match="schema 9; this code reads 1"):
        checkpoint.read_meta(folder)


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_a_cut_file_is_refused(folder, keep):
    path = folder / "state.pt"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"state\.pt: cannot be read"):
        checkpoint.read_state(folder)


class Malicious:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_is_not_executed(folder, capsys):
    (folder / "state.pt").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.read_state(folder)
    assert "executed" not in capsys.readouterr().out


def test_a_full_disk_is_said_and_leaves_no_complete_checkpoint(tmp_path):
    (tmp_path / "state.pt").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match="cannot write a checkpoint: .*No space left"):
        checkpoint.write(tmp_path, META, state())
    with pytest.raises(CheckpointError, match="never completed"):
        checkpoint.read_meta(tmp_path)


def test_another_run_is_refused():
    with pytest.raises(CheckpointError, match="its configuration cccccccccccc is not this run's"):
        checkpoint.check_same_run(META, "x" * 64, "d" * 64)
