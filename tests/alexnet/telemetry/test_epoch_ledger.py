"""Every sample of an epoch is accounted for, also over a restart."""

import dataclasses

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest
from alexnet.errors import DataError
from alexnet.telemetry.epoch_ledger import Ledger, Skipped
from tests.local_worker import LocalWorker
from tests.tiny_data import StopsAt, tiny_run, train_alone

BAD = [5, 40, 41, 99]


@pytest.fixture
def spoilt_run(spoilt):
    """Configuration, manifest and store of a run on data with four bad images."""
    url, _ = spoilt(BAD)
    config = tiny_run(url, epochs=2)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, max_bad_share=0.1))
    store = open_store(url)
    return config, manifest.read(store), store


def ledgers(worker):
    return [event.ledger for event in worker.events if event.ledger]


@pytest.mark.slow
def test_columns_add_up_and_name_what_was_skipped(spoilt_run, tmp_path):
    worker = LocalWorker()
    train_alone(*spoilt_run, tmp_path, worker)
    for epoch, ledger in enumerate(ledgers(worker)):
        assert ledger.epoch == epoch
        assert ledger.expected == 103
        assert ledger.left_over == 103 % 12
        assert ledger.delivered == 103 - ledger.left_over - len(ledger.skipped)
        assert {item.sample_id for item in ledger.skipped} <= set(BAD)
        assert len(ledger.skipped) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("steps", [3, 8, 11])
def test_a_resumed_epoch_has_the_account_of_a_whole_one(spoilt_run, tmp_path, steps):
    undisturbed, resumed = LocalWorker(), LocalWorker()
    train_alone(*spoilt_run, tmp_path / "undisturbed", undisturbed)
    train_alone(*spoilt_run, tmp_path / "stopped", StopsAt(steps))
    train_alone(*spoilt_run, tmp_path / "stopped", resumed)
    expected = ledgers(undisturbed)[-len(ledgers(resumed)) :]
    for one, two in zip(ledgers(resumed), expected, strict=True):
        assert sorted(one.skipped) == sorted(two.skipped)
        assert one.metrics() == two.metrics()


def test_an_account_that_does_not_add_up_stops_the_run():
    skipped = (Skipped(3, 1, "shard", "reason"),)
    account = Ledger(epoch=3, expected=10, delivered=8, skipped=skipped, left_over=1)
    account.check()
    with pytest.raises(DataError, match="epoch 3: 7 samples delivered, 1 skipped and 1 left over"):
        dataclasses.replace(account, delivered=7).check()
