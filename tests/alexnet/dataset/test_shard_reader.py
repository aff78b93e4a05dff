"""Runs are read whole and cut small, and an altered byte is mended or reported."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest, shard_index, shard_reader
from alexnet.dataset.shard_reader import SampleRange, ShardReader
from alexnet.errors import DataError, StoreError
from tests.tiny_data import colour_samples


@pytest.fixture
def reader(tiny):
    return ShardReader(tiny[0], tiny[1].split("train"))


class Flipping:
    """A store that flips a bit in the first reads of each shard, as a bad line does."""

    def __init__(self, store, times):
        self.store, self.url, self.times = store, store.url, times

    def read(self, name, offset=0, length=None):
        return self.store.read(name, offset, length)

    def open(self, name, **known):
        return FlippingFile(self.store.open(name, **known), self.times)


class FlippingFile:
    def __init__(self, file, times):
        self.file, self.times = file, times

    def read(self, offset, length):
        data = bytearray(self.file.read(offset, length))
        if self.times:
            self.times -= 1
            data[len(data) // 2] ^= 1
        return bytes(data)


def test_a_run_has_the_samples_that_were_written(reader):
    written = list(colour_samples("train", 103))
    for run in (SampleRange(0, 0, 20), SampleRange(2, 7, 5), SampleRange(5, 2, 1)):
        read = reader.read(run)
        ids = [run.shard * 20 + run.first + i for i in range(run.num_samples)]
        assert [sample.sample_id for sample in read] == ids
        assert [sample.file() for sample in read] == [written[i].jpeg for i in ids]
        assert [sample.label for sample in read] == [written[i].label for i in ids]


@pytest.mark.parametrize("times", [1, 3])
def test_bytes_altered_on_the_way_are_read_again(tiny, reader, times):
    flipped = ShardReader(Flipping(tiny[0], times), tiny[1].split("train"))
    assert flipped.read(SampleRange(0, 0, 1)) == reader.read(SampleRange(0, 0, 1))


def test_a_byte_altered_in_the_store_is_reported_with_its_sample_alone(spoilt):
    url, _ = spoilt(bad=[21, 25])
    store = open_store(url)
    reader = ShardReader(store, manifest.read(store).split("train"))
    read = reader.read(SampleRange(1, 0, 10))
    assert [sample.sample_id for sample in read if sample.problem] == [21, 25]
    with pytest.raises(DataError, match=r"CRC-32C of the \d+ bytes at \d+ is not the index's"):
        read[1].file()


def test_a_sample_is_named_by_shard_and_member(reader):
    assert reader.name_of(47) == "train-000002.tar: train00047.jpg"
    assert reader.sample(47) == reader.read(SampleRange(2, 7, 1))[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), r"train-000001\.tar: no such file"),
        (lambda path: path.write_bytes(b"x"), r"train-000001\.tar: has 1 bytes, not \d+: replaced"),
    ],
)
def test_a_shard_that_was_deleted_or_replaced_is_named(spoilt, change, message):
    url, folder = spoilt()
    store = open_store(url)
    reader = ShardReader(store, manifest.read(store).split("train"))
    change(folder / "train-000001.tar")
    with pytest.raises(StoreError, match=message):
        reader.read(SampleRange(1, 0, 1))


def test_a_shard_replaced_between_two_reads_is_named(spoilt):
    url, folder = spoilt()
    store = open_store(url)
    reader = ShardReader(store, manifest.read(store).split("train"))
    reader.read(SampleRange(1, 0, 1))
    path = folder / "train-000001.tar"
    path.rename(folder / "old")
    path.write_bytes((folder / "old").read_bytes())
    with pytest.raises(StoreError, match=r"train-000001\.tar: replaced while it was read"):
        reader.read(SampleRange(1, 0, 1))


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=30),
    limit=st.integers(1, 200),
    data=st.data(),
)
def test_pieces_cover_a_run_in_order_and_are_as_large_as_they_may_be(lengths, limit, data):
    rows = np.zeros(len(lengths), shard_index.SAMPLE)
    rows["length"] = lengths
    rows["offset"] = np.cumsum([0, *lengths[:-1]]) + 10 * np.arange(len(lengths))
    first = data.draw(st.integers(0, len(lengths) - 1))
    count = data.draw(st.integers(1, len(lengths) - first))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_reader, "PIECE_BYTES", limit)
        split = manifest.Split(
            np.array([len(lengths)], np.uint32), np.zeros((1, 32), np.uint8), "train-%06d.tar"
        )
        reader = ShardReader(None, split)
        reader._opened = lambda number: (None, shard_index.Index(0, b"", rows))
        pieces = reader.pieces(SampleRange(0, first, count))
    covered = [piece.run.first + i for piece in pieces for i in range(piece.run.num_samples)]
    assert covered == list(range(first, first + count))
    for piece in pieces:
        assert piece.num_bytes <= limit or piece.run.num_samples == 1
