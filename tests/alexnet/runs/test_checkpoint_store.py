"""The newest whole checkpoint is used, the best is kept, and a store that is away is waited for."""

import threading

import pytest
import torch

from alexnet.adapters.object_store import LocalStore, open_store
from alexnet.errors import CheckpointError, LeaseError, StoreError, StoreUnavailableError
from alexnet.runs import checkpoint, checkpoint_saver
from alexnet.runs.checkpoint import CheckpointMeta, CheckpointState
from alexnet.runs.checkpoint_saver import Saver
from alexnet.runs.checkpoint_store import Checkpoints
from alexnet.telemetry import event_journal
from alexnet.telemetry.events import Event


def meta(step, top1=None):
    metrics = {} if top1 is None else {"top1": top1, "top5": 1.0, "loss": 0.5}
    return CheckpointMeta(
        step=step, images_seen=step, time_ms=step, identity={}, manifest_digest="d", metrics=metrics
    )


def state(step):
    return CheckpointState(model={"w": torch.full((400,), float(step))}, optimizer={})


def event(step):
    return Event(kind="progress", step=step, steps=99, epoch=0.0, metrics={"train/loss": 0.5})


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def kept(request, tmp_path):
    """Checkpoints of steps 10, 20 and 30."""
    url = request.getfixturevalue("bucket_url") if request.param == "s3" else str(tmp_path)
    checkpoints = Checkpoints(open_store(url), 3)
    saved(checkpoints, (10, None), (20, 0.5), (30, None))
    return checkpoints


def saved(checkpoints, *steps):
    saver = Saver(checkpoints, 60, pytest.fail)
    for step, top1 in steps:
        saver.save(meta(step, top1), state(step))
    saver.settle()


def newest(checkpoints):
    """Step of the checkpoint that is gone on from, and what was warned of."""
    warnings = []
    found = checkpoints.newest(lambda meta, where: None, warnings.append)
    assert found is None or found[1]["model"]["w"][0] == found[0].step
    return found and found[0].step, warnings


def best(checkpoints):
    """Step of the checkpoint that would be registered, and what was warned of."""
    warnings = []
    with checkpoints.best(warnings.append) as (found, folder):
        assert checkpoint.read_state(folder)["model"]["w"][0] == found.step
    return found.step, warnings


def test_the_newest_is_gone_on_from(kept):
    assert kept.steps() == [10, 20, 30]
    assert newest(kept) == (30, [])


def test_without_any_a_run_begins(tmp_path):
    assert newest(Checkpoints(open_store(str(tmp_path / "none")), 3)) == (None, [])


def test_a_cut_a_flipped_byte_or_a_missing_file_leads_to_the_one_before_and_is_named(kept):
    store = kept.store
    for name in ("state.pt", "meta.json"):
        path = f"step-00000030/{name}"
        whole = store.read(path)
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        for damage in (whole[:middle], b"", flipped, None):
            store.delete(path) if damage is None else store.write(path, damage)
            step, (warning,) = newest(kept)
            assert step == 20, (name, damage)
            assert "step-00000030" in warning
            assert warning.endswith("The checkpoint before it is used, if there is one.")
            store.write(path, whole)
    assert newest(kept) == (30, [])


def test_one_that_was_never_completed_is_not_used(kept):
    kept.store.write("step-00000040/state.pt", b"half")
    step, (warning,) = newest(kept)
    assert step == 30
    assert "step-00000040: no meta.json, so it was never completed" in warning


def test_if_all_are_damaged_the_run_does_not_begin_anew_by_itself(kept):
    for step in kept.steps():
        kept.store.write(f"step-{step:08d}/state.pt", b"")
    with pytest.raises(CheckpointError, match="all 3 checkpoints are damaged"):
        newest(kept)


def test_one_of_another_run_is_refused_and_not_passed_over(kept):
    def refuse(meta, where):
        raise CheckpointError(f"{where}: of another run")

    with pytest.raises(CheckpointError, match="step-00000030: of another run"):
        kept.newest(refuse, pytest.fail)


def test_the_last_ones_and_the_best_are_kept(kept):
    saved(kept, (40, 0.4), (50, None), (60, 0.5), (70, None))
    assert kept.steps() == [20, 50, 60, 70]  # 20 and 60 are equal: the earlier one is the best
    assert best(kept) == (20, [])
    saved(kept, (80, 0.9))
    assert kept.steps() == [60, 70, 80]
    assert best(kept) == (80, [])


def test_a_damaged_best_leads_to_the_next_best_and_is_named(kept):
    saved(kept, (40, 0.4), (50, 0.3))
    kept.store.write("step-00000020/state.pt", b"")
    step, (warning,) = best(kept)
    assert step == 40
    assert "step-00000020" in warning
    kept.store.write("step-00000020/meta.json", b"")
    assert best(kept) == (40, [])
    saved(kept, (60, 0.1))
    assert best(kept) == (40, [])


def test_what_was_begun_and_not_completed_is_removed_by_and_by(kept):
    kept.store.write("step-00000005/state.pt", b"half")
    saved(kept, (40, None))
    assert kept.steps(complete=False) == [20, 30, 40]


def test_a_run_without_an_evaluated_checkpoint_has_no_best(tmp_path):
    checkpoints = Checkpoints(open_store(str(tmp_path)), 3)
    saved(checkpoints, (10, None))
    with pytest.raises(CheckpointError, match="no whole checkpoint was evaluated"):
        best(checkpoints)


class Away(LocalStore):
    """A folder that does not answer for a while."""

    __slots__ = ("answers",)

    def upload(self, path, name):
        if not self.answers.is_set():
            raise StoreUnavailableError("s3://x: does not answer.")
        LocalStore.upload(self, path, name)


@pytest.fixture
def away(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_saver, "RETRY_S", 0.01)
    store = Away(str(tmp_path))
    object.__setattr__(store, "answers", threading.Event())
    return store


def test_training_goes_on_while_the_store_is_away_and_the_checkpoint_is_written_after_all(away):
    said = threading.Semaphore(0)
    warnings = []

    def warn(text):
        warnings.append(text)
        said.release()

    checkpoints = Checkpoints(away, 3)
    saver = Saver(checkpoints, 60, warn)
    saver.note(event(9))
    saver.save(meta(10), state(10))
    assert said.acquire(timeout=60)
    assert saver.busy
    saver.check()  # nothing to raise yet
    away.answers.set()
    saver.settle()
    assert not saver.busy
    assert newest(checkpoints) == (10, [])
    assert [each.step for each in event_journal.read(away)] == [9]
    assert "does not answer. It is tried again for cluster.store_timeout_s = 60" in warnings[0]
    assert warnings[1:] == ["The store of checkpoints answers again."]


def test_a_store_that_stays_away_ends_the_run_with_the_last_checkpoint_intact(away):
    away.answers.set()
    checkpoints = Checkpoints(away, 3)
    saved(checkpoints, (10, None))
    away.answers.clear()
    saver = Saver(checkpoints, 0, lambda text: None)
    saver.save(meta(20), state(20))
    with pytest.raises(StoreUnavailableError):
        saver.settle()
    assert newest(checkpoints) == (10, [])


def test_a_full_disk_is_told_at_the_next_look_and_leaves_the_last_checkpoint(tmp_path):
    checkpoints = Checkpoints(open_store(str(tmp_path)), 3)
    saved(checkpoints, (10, None))
    (tmp_path / "step-00000020").symlink_to("/dev/full")
    saver = Saver(checkpoints, 60, pytest.fail)
    saver.save(meta(20), state(20))
    with pytest.raises(StoreError, match="step-00000020"):
        saver.settle()
    assert newest(checkpoints) == (10, [])


def test_events_are_in_the_journal_once_and_in_order(tmp_path):
    checkpoints = Checkpoints(open_store(str(tmp_path)), 3)
    saver = Saver(checkpoints, 60, pytest.fail)
    for step in range(1, 31):
        saver.note(event(step))
        if step % 7 == 0:
            saver.save(meta(step), state(step))
    saver.settle()
    assert [each.step for each in event_journal.read(checkpoints.store)] == list(range(1, 29))


def test_who_outlives_its_driver_does_not_write_into_the_next_ones_run(tmp_path):
    store = open_store(str(tmp_path))
    store.write("lease.json", b'{"token": "new", "host": "h", "pid": 7, "renewed_ms": 0}')
    stale = Saver(Checkpoints(store, 3, token="old"), 60, pytest.fail)
    stale.save(meta(10), state(10))
    with pytest.raises(LeaseError, match="process 7 on h has taken this over"):
        stale.settle()
    assert not Checkpoints(store, 3).steps(complete=False)
