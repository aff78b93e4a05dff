"""Of several processes one works on a run; a dead one is replaced, a living one is not."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import asdict

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.errors import LeaseError
from alexnet.storage import lease, processes
from alexnet.storage.lease import NAME, Holder, Lease


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def store(request, tmp_path):
    if request.param == "s3":
        return open_store(request.getfixturevalue("bucket_url"))
    return open_store(str(tmp_path))


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Leases run out within two seconds."""
    monkeypatch.setattr(lease, "TTL_S", 2.0)
    monkeypatch.setattr(lease, "RENEW_S", 0.1)
    monkeypatch.setattr(lease, "POLL_S", 0.05)


def holder(store, **changes):
    """Somebody's lease, who does not renew it."""
    now_ms = time.time_ns() // 10**6
    content = asdict(Holder("t", "elsewhere", 7, now_ms, step=30))
    store.write(NAME, json.dumps(content | changes).encode())


def test_a_lease_that_was_released_is_taken_at_once(store):
    first, second = Lease(store, pytest.fail), Lease(store, pytest.fail)
    assert first.take("run x") is None
    first.release()
    assert not store.exists(NAME)
    assert second.take("run x") is None
    second.release()


OTHER = """
import sys
from alexnet.adapters.object_store import open_store
from alexnet.errors import LeaseError
from alexnet.storage.lease import Lease
try:
    Lease(open_store(sys.argv[1])).take("run x")
except LeaseError as error:
    print(error)
"""


def test_a_lease_that_is_renewed_is_not_taken_by_another_process(store):
    mine = Lease(store, pytest.fail)
    mine.take("run x")
    command = [sys.executable, "-c", OTHER, store.url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.match(rf"run x: process {os.getpid()} on .* is at work on it\.", done.stdout)
    mine.release()


@pytest.mark.slow
def test_a_lease_of_another_machine_that_is_not_renewed_runs_out_and_says_how_far_it_was(store):
    holder(store)
    mine = Lease(store, pytest.fail)
    before = mine.take("run x")
    assert (before.host, before.step) == ("elsewhere", 30)
    mine.release()


def test_a_dead_process_of_this_machine_is_replaced_at_once(store, monkeypatch):
    monkeypatch.setattr(lease, "TTL_S", 10**6)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    holder(store, sight=processes.namespace_id(), pid=child.pid)
    mine = Lease(store, pytest.fail)
    assert mine.take("run x").pid == child.pid
    mine.release()


def test_a_lease_that_changes_is_held_whatever_its_holders_clock_says(store):
    holder(store, renewed_ms=1000)
    mine = Lease(store, pytest.fail)
    threading.Timer(0.5, holder, [store], {"renewed_ms": 500}).start()
    with pytest.raises(LeaseError, match="process 7 on elsewhere is at work on it"):
        mine.take("run x")


@pytest.mark.slow
def test_what_was_reached_is_kept_by_who_goes_on(store):
    holder(store)
    mine = Lease(store, pytest.fail)
    mine.take("run x")
    assert lease.read(store).step == 30
    mine.release()


@pytest.mark.slow
def test_a_file_that_is_no_lease_runs_out(store):
    store.write(NAME, b"not json")
    mine = Lease(store, pytest.fail)
    mine.take("run x")
    mine.release()


def test_who_is_replaced_is_told_and_does_not_take_it_back(store):
    told = threading.Event()
    mine = Lease(store, told.set)
    mine.take("run x")
    holder(store, token="other")
    assert told.wait(60)
    with pytest.raises(LeaseError, match="another process has taken this run over"):
        mine.check()
    mine.release()
    assert json.loads(store.read(NAME))["token"] == "other"


def test_who_works_for_a_holder_that_was_replaced_is_stopped(store):
    mine = Lease(store)
    mine.take("run x")
    lease.check_held(store, mine.token)
    with pytest.raises(LeaseError, match="has taken this over"):
        lease.check_held(store, "another")
    mine.release()
    lease.check_held(store, mine.token)  # nobody else has it: what is under way may end


def test_of_many_at_once_one_creates_a_file(store):
    made = []
    ready = threading.Barrier(8)

    def create(number):
        ready.wait()
        made.append(store.create("file", b"%d" % number))

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 7 + [True]
    assert not store.create("file", b"later")
