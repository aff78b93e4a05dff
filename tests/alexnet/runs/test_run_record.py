"""The same command finds the run that it began; another one, or a finished one, does not."""

import dataclasses

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.errors import CheckpointError, ConfigError, LeaseError
from alexnet.runs import run_record
from alexnet.runs.run_record import NAME, LostWork
from tests.tiny_data import tiny_run


@pytest.fixture
def find(tiny, tiny_url, tmp_path):
    """Find or begin a run in a storage; what is found is written with a status."""

    def find(status="RUNNING", config=None, fresh=False, manifest=tiny[1]):
        config = config or tiny_run(tiny_url)
        record, continued = run_record.find(
            config, manifest, tiny_url, "abc", lambda name: store(tmp_path, name), fresh=fresh
        )
        dataclasses.replace(record, status=status).write(store(tmp_path, record.name))
        return record, continued

    return find


def store(folder, name):
    return open_store(str(folder / name))


def pinned(url, name="nightly", **train):
    config = tiny_run(url, **train)
    return dataclasses.replace(config, run=dataclasses.replace(config.run, name=name))


@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "KILLED"])
def test_a_run_that_is_not_finished_is_found_again(find, status):
    begun, continued = find(status)
    assert not continued
    again, continued = find()
    assert continued
    assert again == dataclasses.replace(begun, status=status)


def test_after_a_finished_run_the_next_number_begins(find):
    names = [find("FINISHED")[0].name for _ in range(3)]
    assert [name[-4:] for name in names] == ["-001", "-002", "-003"]
    assert len({name[:-4] for name in names}) == 1


def test_fresh_never_goes_on(find):
    first, _ = find()
    second, continued = find(fresh=True)
    assert not continued
    assert second.name != first.name
    assert find()[0].name == second.name  # without it, the last one is gone on with


def test_what_decides_the_weights_makes_another_run_and_what_does_not_does_not(find, tiny_url):
    first, _ = find()
    assert not find(config=tiny_run(tiny_url, seed=1))[1]
    again, continued = find(config=tiny_run(tiny_url, log_every_steps=1))
    assert continued
    assert again.key == first.key


def test_other_data_makes_another_run(find, tiny):
    first, _ = find()
    second, continued = find(manifest=dataclasses.replace(tiny[1], digest="0" * 64))
    assert not continued
    assert second.name[:-4] != first.name[:-4]


def test_keys_are_never_the_same(find):
    assert len({find("FINISHED")[0].key for _ in range(5)}) == 5


def test_a_pinned_name_is_the_name_and_is_gone_on_with(find, tiny_url):
    config = pinned(tiny_url)
    first, continued = find(config=config)
    assert (first.name, continued) == ("nightly", False)
    assert find(config=config)[1]


def test_a_pinned_name_of_another_run_is_refused_with_the_difference(find, tiny_url):
    find(config=pinned(tiny_url))
    with pytest.raises(CheckpointError, match="train.seed = 0 there, 1 here. Choose another name"):
        find(config=pinned(tiny_url, seed=1))


def test_a_pinned_name_is_used_once(find, tiny_url):
    find("FINISHED", pinned(tiny_url))
    with pytest.raises(ConfigError, match="run.name = 'nightly': this run is finished"):
        find(config=pinned(tiny_url))
    with pytest.raises(ConfigError, match="--fresh does not go on with one"):
        find(config=pinned(tiny_url), fresh=True)


def test_what_was_written_is_read(find, tmp_path):
    record, _ = find()
    lost = (LostWork("worker 1: killed", 40, 3, 17.5),)
    written = dataclasses.replace(record, lost=lost, status="KILLED")
    written.write(store(tmp_path, record.name))
    assert run_record.read(store(tmp_path, record.name)) == written


def test_a_run_that_another_process_worked_on_meanwhile_is_taken_as_it_is_now(find, tmp_path):
    begun, _ = find()
    folder = store(tmp_path, begun.name)
    with pytest.raises(LeaseError, match="another process has just begun it"):
        run_record.again(begun, folder, continued=False)
    now = dataclasses.replace(begun, reached=7)
    now.write(folder)
    assert run_record.again(begun, folder, continued=True) == now
    dataclasses.replace(now, status="FINISHED").write(folder)
    with pytest.raises(LeaseError, match="another process has just finished it"):
        run_record.again(begun, folder, continued=True)


def test_fresh_begins_though_the_last_record_is_damaged(find, tmp_path):
    record, _ = find()
    store(tmp_path, record.name).write(NAME, b"")
    assert find(fresh=True)[0].name.endswith("-002")


@pytest.mark.parametrize("text", [b"", b"{}", b'{"schema": 7, "lost": []}', b'{"schema": 1}'])
def test_a_damaged_record_is_refused_with_its_place(find, tmp_path, text):
    record, _ = find()
    store(tmp_path, record.name).write(NAME, text)
    with pytest.raises(CheckpointError, match=rf"{record.name}/run\.json: (damaged|schema 7)"):
        find()
