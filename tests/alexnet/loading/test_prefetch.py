"""Reading ahead changes when bytes are read, never which sample comes when."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from alexnet.dataset import manifest, shard_reader
from alexnet.dataset.shard_reader import ShardReader
from alexnet.loading.epoch_plan import EpochPlan
from alexnet.loading.prefetch import ReadAhead
from tests.counting_store import CountingStore

STREAMS, WINDOW, BATCH = 4, 10, 8
PER_STEP = BATCH // STREAMS


def plan_of(manifest, epoch):
    return EpochPlan(
        manifest.split("train").sizes,
        seed=0,
        epoch=epoch,
        num_streams=STREAMS,
        window_samples=WINDOW,
        global_batch_size=BATCH,
    )


def windows_of(manifest, stream):
    for epoch in range(2):
        yield from plan_of(manifest, epoch).windows(stream)


def ahead_of(tiny, threads, ceiling_bytes, reader=None):
    """Two epochs of all streams."""
    reader = reader or ShardReader(tiny[0], tiny[1].split("train"))
    windows = [windows_of(tiny[1], stream) for stream in range(STREAMS)]
    return ReadAhead(reader, windows, threads, ceiling_bytes)


def ids_of(ahead, manifest):
    """The sample of every slot of two epochs."""
    ids = []
    for epoch in range(2):
        for at in range(plan_of(manifest, epoch).steps * PER_STEP):
            for stream in range(STREAMS):
                ids.append(ahead.take(stream, epoch, at).sample_id)
            ahead.pump()
    return ids


def planned_ids(manifest):
    """The same from the plan alone."""
    bases = [0, 20, 40, 60, 80, 100]
    ids = []
    for epoch in range(2):
        plan = plan_of(manifest, epoch)
        streams = []
        for stream in range(STREAMS):
            order = []
            for window in plan.windows(stream):
                read = [bases[r.shard] + r.first + i for r in window.runs for i in range(r[2])]
                order += [read[place] for place in window.order]
            streams.append(order)
        ids += [streams[s][at] for at in range(plan.steps * PER_STEP) for s in range(STREAMS)]
    return ids


@pytest.mark.parametrize("ceiling_bytes", [0, 1, 5000, 10**9])
def test_the_order_does_not_depend_on_the_ceiling(tiny, monkeypatch, ceiling_bytes):
    monkeypatch.setattr(shard_reader, "PIECE_BYTES", 4000)
    with ThreadPoolExecutor(3) as threads:
        ids = ids_of(ahead_of(tiny, threads, ceiling_bytes), tiny[1])
    assert ids == planned_ids(tiny[1])


class Counting(ShardReader):
    """Counts the bytes it was asked for."""

    def __init__(self, *args):
        super().__init__(*args)
        self.asked_bytes = 0

    def read(self, run):
        samples = super().read(run)
        self.asked_bytes += sum(len(sample.data) for sample in samples)
        return samples


@pytest.mark.parametrize("ceiling_bytes", [0, 9000, 40_000])
def test_no_more_is_read_ahead_than_the_ceiling_allows(tiny, monkeypatch, ceiling_bytes):
    monkeypatch.setattr(shard_reader, "PIECE_BYTES", 4000)
    reader = Counting(tiny[0], tiny[1].split("train"))
    with ThreadPoolExecutor(1) as threads:
        ahead = ahead_of(tiny, threads, ceiling_bytes, reader)
        for stream in range(STREAMS):
            ahead.take(stream, 0, 0)
        in_use_bytes = reader.asked_bytes
        for _ in range(20):
            ahead.pump()
            threads.submit(time.sleep, 0).result()  # everything asked for before is read
    assert reader.asked_bytes <= in_use_bytes + ceiling_bytes
    if ceiling_bytes:
        assert reader.asked_bytes > in_use_bytes


def test_passing_over_leads_to_the_same_sample(tiny):
    with ThreadPoolExecutor(1) as threads:
        one, two = ahead_of(tiny, threads, 10**9), ahead_of(tiny, threads, 10**9)
        every = [one.take(2, 0, at) for at in range(15)]
        assert two.take(2, 0, 14) == every[14]
        assert two.take(2, 1, 0) == one.take(2, 1, 0)


@pytest.mark.parametrize("ceiling_bytes", [0, 10**9])
def test_an_epoch_reads_hardly_more_than_the_data_set_once(tiny, ceiling_bytes):
    counting = CountingStore(tiny[0])
    reader = ShardReader(counting, tiny[1].split("train"))
    size = sum(manifest.read_index(*pair).tar_bytes for pair in pairs_of(tiny))
    plan = plan_of(tiny[1], 0)
    with ThreadPoolExecutor(4) as threads:
        windows = [plan.windows(stream) for stream in range(STREAMS)]
        ahead = ReadAhead(reader, windows, threads, ceiling_bytes)
        for at in range(plan.stream_samples):
            for stream in range(STREAMS):
                ahead.take(stream, 0, at)
            ahead.pump()
    assert counting.num_bytes <= 1.02 * size


def pairs_of(tiny):
    return [(tiny[0], shard) for shard in tiny[1].split("train")]
