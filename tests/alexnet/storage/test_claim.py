"""Where a store cannot tell two apart, who sees another goes away; the dead do not count."""

import subprocess
import sys
import threading

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.errors import LeaseError
from alexnet.storage import claim, processes
from alexnet.storage.lease import Holder


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path))


def claims(store):
    return [name for name in store.list() if name.startswith(claim.FOLDER)]


def test_alone_nothing_is_in_the_way_and_nothing_is_left(store):
    for _ in range(2):
        with claim.alone(store, "it"):
            assert len(claims(store)) == 1
    assert claims(store) == []


class Meeting:
    """A store to which another claim comes just before one's own is written."""

    def __init__(self, store, other):
        self.store, self.other = store, other

    def __getattr__(self, name):
        return getattr(self.store, name)

    def write(self, name, data):
        self.store.write(self.other, Holder.here("other").to_bytes())
        self.store.write(name, data)


def test_who_sees_another_does_nothing_and_takes_its_claim_back(store):
    other, did = f"{claim.FOLDER}other.json", []
    said = r"/it: process \d+ on .* no conditional writes.*again"
    with pytest.raises(LeaseError, match=said), claim.alone(Meeting(store, other), "it"):
        did.append(True)
    assert did == []
    assert claims(store) == [other]


def test_of_many_at_once_at_most_one_acts_at_a_time(store):
    start, busy, most = threading.Barrier(8), [], []

    def act():
        start.wait()
        try:
            with claim.alone(store, "it"):
                busy.append(True)
                most.append(len(busy))
                busy.pop()
        except LeaseError:
            pass

    threads = [threading.Thread(target=act) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) <= {1}
    assert claims(store) == []


def test_the_claim_of_a_process_that_is_gone_is_removed_at_once(store):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    holder = Holder("t", "here", gone.pid, 0, processes.namespace_id())
    store.write(f"{claim.FOLDER}gone.json", holder.to_bytes())
    with claim.alone(store, "it"):
        assert len(claims(store)) == 1


def test_a_claim_of_elsewhere_is_waited_for_and_then_counts_as_dead(store, monkeypatch):
    monkeypatch.setattr(claim, "GONE_S", 0.2)
    store.write(f"{claim.FOLDER}far.json", Holder("t", "far", 1, 0, "another boot").to_bytes())
    with claim.alone(store, "it"):
        assert len(claims(store)) == 1


def test_one_whose_store_is_slow_does_not_begin(store, monkeypatch):
    monkeypatch.setattr(claim, "ACT_S", -1)
    said = "the store was too slow. Give the command again"
    with pytest.raises(LeaseError, match=said), claim.alone(store, "it"):
        pytest.fail("it began")


def test_one_that_was_taken_for_dead_meanwhile_is_told(store):
    said = "paused for so long that another may have acted"
    with pytest.raises(LeaseError, match=said), claim.alone(store, "it"):
        store.delete(*claims(store))
