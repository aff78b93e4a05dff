"""A data set is read again, and what is not as it was written is named."""

import hashlib
import json
import re
import shutil

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest, shard_index
from pipelines import check_data, prepare_shards
from tests.tiny_data import NUM_TRAIN, NUM_VAL, pictures, spoil

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stays_connected")]


@pytest.fixture
def copied(tiny_url, tmp_path):
    return shutil.copytree(tiny_url, tmp_path / "copied")


def test_a_whole_data_set_passes_and_its_report_counts_it(tiny_url, tmp_path, capfd):
    reports = tmp_path / "reports"
    assert check_data.main([tiny_url, "--report", str(reports)]) == 0
    out = capfd.readouterr().out
    assert f"8 shards with {NUM_TRAIN + NUM_VAL} images are as they were written" in out
    (page,) = reports.glob("data-report-*.html")
    assert str(page) in out
    tree = json.loads(page.with_suffix(".json").read_text())
    assert tree["usable"] == NUM_TRAIN + NUM_VAL
    assert tree["rejected"] == 0
    assert tree["problems"] == []
    known = manifest.read(open_store(tiny_url))
    assert tree["colour"]["mean"] == pytest.approx(known.colour.mean, abs=0.01)


def flip_image(folder):
    spoil(folder, [3])
    return r"train-000000.tar: not as its index says, altered: train00003.jpg"


def flip_label(folder):
    path = folder / "train-000001.tar"
    data = bytearray(path.read_bytes())
    data[512] ^= 1  # the text of the first .cls, which the index has a copy of
    path.write_bytes(data)
    return r"train-000001.tar: not as its index says, altered beside its images"


def cut(folder):
    path = folder / "val-000000.tar"
    path.write_bytes(path.read_bytes()[:-5000])
    return r"val-000000.tar: not as its index says, \d+ bytes instead of \d+"


def remove(folder):
    (folder / "train-000002.tar").unlink()
    return r"train-000002.tar: no such file"


def exchange_index(folder):
    shutil.copy(folder / "train-000000.index.npy", folder / "train-000001.index.npy")
    return r"train-000001.index.npy: SHA-256 is not the manifest's"


@pytest.mark.parametrize("options", [[], ["--digests"]])
@pytest.mark.parametrize("change", [flip_image, flip_label, cut, remove, exchange_index])
def test_what_is_not_as_it_was_written_is_named(copied, tmp_path, capfd, change, options):
    message = change(copied)
    reports = tmp_path / "reports"
    assert check_data.main([str(copied), "--report", str(reports), *options]) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "check_data:" in line]
    assert "not as they were written: 1 of 8 shards" in line
    assert re.search(message, line)
    if options:
        assert not reports.exists()
    else:
        (report,) = reports.glob("*.json")
        assert re.search(message, *json.loads(report.read_text())["problems"])


def test_every_altered_shard_is_counted(copied, capfd):
    flip_image(copied)
    cut(copied)
    remove(copied)
    assert check_data.main([str(copied), "--digests"]) == 2
    assert "not as they were written: 3 of 8 shards" in capfd.readouterr().err


def test_an_altered_table_or_version_is_refused_before_anything_is_read(copied, capfd):
    path = copied / manifest.MANIFEST_NAME
    tree = json.loads(path.read_text())
    table = copied / tree["splits"]["train"]["table"]
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    assert check_data.main([str(copied), "--digests"]) == 2
    assert "SHA-256 is not the manifest's" in capfd.readouterr().err
    path.write_text(json.dumps(tree | {"version": 2}))
    assert check_data.main([str(copied), "--digests"]) == 2
    assert "version 2; this code reads 1" in capfd.readouterr().err


def test_an_index_of_another_tar_is_noticed_even_where_the_manifest_has_its_digest(copied, capfd):
    store = open_store(str(copied))
    known = manifest.read(store)
    shards = {split: list(known.split(split)) for split in known.splits}
    found = manifest.read_index(store, shards["train"][0])
    rows = found.samples.copy()
    rows["offset"] += 512
    data = shard_index.to_bytes(found._replace(samples=rows))
    store.write(shards["train"][0].index, data)
    shards["train"][0] = manifest.Shard(
        name=shards["train"][0].name,
        num_samples=len(rows),
        index_sha256=hashlib.sha256(data).digest(),
    )
    manifest.publish(store, manifest.draft("tiny", known.classes, known.colour, shards))
    assert check_data.main([str(copied), "--digests"]) == 2
    assert "train-000000.tar: not as its index says" in capfd.readouterr().err


def test_leaks_are_found_in_shards_that_others_have_written(tmp_path, s3_env, bucket_url, capfd):
    folder = tmp_path / "set"
    source = tmp_path / "images"
    for split, jpegs in (("train", list(pictures(4))), ("val", list(pictures(2)))):
        for i, jpeg in enumerate(jpegs):
            path = source / split / f"class{i % 2}" / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg)
    assert prepare_shards.main([str(source), bucket_url]) == 0
    assert check_data.main([bucket_url, "--report", str(folder)]) == 0
    (report,) = folder.glob("*.json")
    tree = json.loads(report.read_text())["duplicates"]
    assert tree["across_splits"] == 2
    for group in tree["groups"]:
        assert [re.sub(r"-\d{6}.*-", "/", name) for name in group] in (
            ["train/0.jpg", "val/0.jpg"],
            ["train/1.jpg", "val/1.jpg"],
        )
