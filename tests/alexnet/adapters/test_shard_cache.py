"""Cached shards are those of the store, whoever writes, is killed, or runs out of room."""

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from alexnet.adapters.object_store import CachedStore, open_store
from alexnet.dataset import manifest
from alexnet.dataset.shard_reader import SampleRange, ShardReader
from alexnet.errors import DataError

GIB = 2**30


class Counting:
    """A store that counts the bytes read from shards, and may stand still in the middle of one."""

    def __init__(self, store, stands_still=None):
        self.store, self.url, self.num_bytes, self.stands_still = store, store.url, 0, stands_still

    def read(self, name, offset=0, length=None):
        return self.store.read(name, offset, length)

    def open(self, name, **known):
        return CountingFile(self, self.store.open(name, **known))


class CountingFile:
    def __init__(self, counter, file):
        self.counter, self.file = counter, file

    def read(self, offset, length):
        self.counter.num_bytes += length
        if self.counter.stands_still:
            self.counter.stands_still()
        return self.file.read(offset, length)


@pytest.fixture
def split(tiny):
    return tiny[1].split("train")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def everything(store, split):
    reader = ShardReader(store, split)
    return [
        reader.read(SampleRange(number, 0, shard.num_samples)) for number, shard in enumerate(split)
    ]


def files(folder, suffix):
    return sorted(path for path in folder.iterdir() if path.suffix == suffix)


def test_what_is_read_is_what_the_store_has_and_each_shard_is_fetched_once(tiny, split, folder):
    counting = Counting(tiny[0])
    cached = CachedStore(counting, folder, GIB)
    expected = everything(tiny[0], split)
    assert everything(cached, split) == expected
    fetched = counting.num_bytes
    assert everything(cached, split) == expected
    assert (
        counting.num_bytes == fetched == sum(path.stat().st_size for path in files(folder, ".tar"))
    )


def test_shards_are_named_by_their_digest(tiny, split, folder):
    everything(CachedStore(tiny[0], folder, GIB), split)
    digests = {manifest.read_index(tiny[0], shard).tar_sha256.hex() for shard in split}
    assert {path.stem for path in files(folder, ".tar")} == digests


def test_the_ceiling_holds_and_the_least_recently_used_goes_first(tiny, split, folder):
    sizes = [manifest.read_index(tiny[0], shard).tar_bytes for shard in split]
    cached = CachedStore(tiny[0], folder, sum(sizes[:2]) + sizes[2] // 2)
    reader = ShardReader(cached, split)
    for clock, number in enumerate([0, 1, 0, 2]):
        reader.read(SampleRange(number, 0, 1))
        for path in files(folder, ".tar"):  # a clock that no file system is too coarse for
            if path.stem == manifest.read_index(tiny[0], split[number]).tar_sha256.hex():
                os.utime(path, (clock, clock))
        assert sum(path.stat().st_size for path in files(folder, ".tar")) <= cached.max_bytes
    kept = {path.stem for path in files(folder, ".tar")}
    assert kept == {manifest.read_index(tiny[0], split[i]).tar_sha256.hex() for i in (0, 2)}


def test_a_shard_larger_than_the_cache_is_read_from_the_store(tiny, split, folder):
    assert everything(CachedStore(tiny[0], folder, 10), split) == everything(tiny[0], split)
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_costs_nothing_but_time(tiny, split, tmp_path):
    (tmp_path / "file").write_text("")
    cached = CachedStore(tiny[0], tmp_path / "file" / "cache", GIB)
    assert everything(cached, split) == everything(tiny[0], split)


def test_altered_shards_are_not_kept(spoilt, folder):
    url, _ = spoilt(bad=[21])
    store = open_store(url)
    split = manifest.read(store).split("train")
    reader = ShardReader(CachedStore(store, folder, GIB), split)
    with pytest.raises(DataError, match=r"train-000001\.tar: SHA-256 is not the index's"):
        reader.read(SampleRange(1, 0, 1))
    assert not files(folder, ".tar")
    assert not files(folder, ".partial")


def test_threads_fetch_a_shard_once(tiny, split, folder):
    counting = Counting(tiny[0])
    cached = CachedStore(counting, folder, GIB)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: everything(cached, split), range(16)))
    assert counting.num_bytes == sum(path.stat().st_size for path in files(folder, ".tar"))


def read_all(store, split, results):
    results.put(everything(store, split))


def fetch_and_stand_still(store, split, folder, begun):
    def stand_still():
        begun.set()
        signal.pause()

    ShardReader(CachedStore(Counting(store, stand_still), folder, GIB), split).read(
        SampleRange(0, 0, 1)
    )


@pytest.mark.slow
def test_processes_share_it_while_one_of_them_is_killed_in_the_middle_of_a_write(
    tiny, split, folder
):
    context = multiprocessing.get_context("spawn")
    begun, results = context.Event(), context.Queue()
    doomed = context.Process(target=fetch_and_stand_still, args=(tiny[0], split, folder, begun))
    doomed.start()
    assert begun.wait(60)
    assert files(folder, ".partial")
    cached = CachedStore(tiny[0], folder, GIB)
    readers = [context.Process(target=read_all, args=(cached, split, results)) for _ in range(3)]
    for reader in readers:
        reader.start()
    doomed.kill()
    expected = everything(tiny[0], split)
    assert all(results.get(timeout=60) == expected for _ in readers)
    for process in (doomed, *readers):
        process.join(60)
    assert len(files(folder, ".tar")) == len(split)
    assert not files(folder, ".partial")
