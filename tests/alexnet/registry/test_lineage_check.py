"""What a version was made from is found again, and what is missing or altered is named."""

import shutil

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest as manifests
from alexnet.registry import lineage, lineage_check
from tests.registry import candidate, trained_run
from tests.tiny_data import new_record


@pytest.fixture(scope="module")
def made_from(tiny_url, tmp_path_factory):
    with trained_run(tiny_url, tmp_path_factory.mktemp("run"), epochs=1) as run:
        return candidate(run, new_record(run.config, run.manifest, "run")).lineage


@pytest.fixture
def data(tiny_url, tmp_path):
    return shutil.copytree(tiny_url, tmp_path / "data")


def quick(made_from, folder):
    store = open_store(str(folder))
    problems = lineage_check.SizeCheck(store).all(lineage_check.shards(made_from))
    return lineage_check.verify(made_from, store, problems, "size")


def full(made_from, folder):
    store = open_store(str(folder))
    problems = filter(None, map(lineage_check.DigestCheck(store), lineage_check.shards(made_from)))
    return lineage_check.verify(made_from, store, problems, "SHA-256")


def broken(verdicts):
    return {each.rule: each.found for each in verdicts if not each.holds}


def test_data_that_is_as_it_was_holds(made_from, data):
    assert broken(quick(made_from, data)) == broken(full(made_from, data)) == {}


def test_one_altered_byte_is_named_by_the_full_check_and_no_other(made_from, data):
    shard = data / "train-000003.tar"
    bytes_ = bytearray(shard.read_bytes())
    bytes_[1000] ^= 1
    shard.write_bytes(bytes_)
    assert broken(quick(made_from, data)) == {}
    assert broken(full(made_from, data)) == {
        "shards": "train-000003.tar was altered: its SHA-256 is another one"
    }


@pytest.mark.parametrize("check", [quick, full])
def test_a_missing_and_a_cut_shard_are_named(made_from, data, check):
    (data / "val-000001.tar").unlink()
    cut = data / "train-000000.tar"
    size = cut.stat().st_size
    cut.write_bytes(cut.read_bytes()[:-512])
    assert broken(check(made_from, data)) == {
        "shards": f"train-000000.tar has {size - 512} bytes instead of {size}; "
        "val-000001.tar is missing"
    }


def test_many_wrong_shards_are_counted(made_from, data):
    for shard in data.glob("*.tar"):
        shard.unlink()
    assert broken(quick(made_from, data))["shards"].endswith("; and 3 more")


def test_a_newer_manifest_changes_nothing_and_a_missing_one_is_told(made_from, data):
    (data / manifests.MANIFEST_NAME).write_text("newer")
    assert broken(quick(made_from, data)) == {}
    (data / manifests.name_of(made_from.manifest_digest)).unlink()
    assert "manifest" in broken(quick(made_from, data))


def test_another_manifest_under_the_name_is_told(made_from, data):
    file = data / manifests.name_of(made_from.manifest_digest)
    file.write_text(file.read_text().replace('"tiny"', '"other"'))
    (verdict, _) = quick(made_from, data)
    assert not verdict.holds
    assert verdict.wanted == f"SHA-256 {made_from.manifest_digest[:12]}"


def test_digests_are_those_of_the_shards(made_from, tiny_url):
    store = open_store(tiny_url)
    assert lineage.digests(store, manifests.read(store)) == made_from.shards
