"""Shards that others have written are indexed where they lie, and trained on as they are."""

import re
import subprocess

import pytest
import torch
import webdataset

from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest
from alexnet.loading.data_loader import ValidationStream
from alexnet.loading.samples import ValidationParts
from pipelines import prepare_shards
from tests.tiny_data import pictures, tiny_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stays_connected")]


def write_shards(folder, split, count, seed=0, first=0):
    """As people do it: shards of four samples by `webdataset.ShardWriter`."""
    folder.mkdir(exist_ok=True)
    made = []
    if not count:
        return made
    pattern = f"{folder}/{split}-%04d.tar"
    with webdataset.ShardWriter(pattern, maxcount=4, start_shard=first, verbose=0) as writer:
        for i, jpeg in enumerate(pictures(count, seed)):
            writer.write({"__key__": f"{split}{first}-{i:03d}", "jpg": jpeg, "cls": i % 2})
            made.append((jpeg, i % 2))
    return made


def delivered(store, known, split="val"):
    """(bytes of the image file, label) of each sample, by the index."""
    for shard in known.split(split):
        for offset, length, label, _ in manifest.read_index(store, shard).samples.tolist():
            yield store.read(shard.name, offset, length), label


def test_shards_of_the_webdataset_package_are_indexed_and_not_copied(tmp_path):
    folder = tmp_path / "set"
    train = write_shards(folder, "train", 10)
    val = write_shards(folder, "val", 5, seed=1)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert prepare_shards.main([str(folder)]) == 0
    store = open_store(str(folder))
    known = manifest.read(store)
    assert known.classes == ("0", "1")
    assert list(delivered(store, known, "train")) == train
    assert list(delivered(store, known, "val")) == val
    assert {path.name: path.read_bytes() for path in folder.glob("*.tar")} == before


def test_shards_made_by_tar_in_s3_are_streamed(tmp_path, s3_env, bucket_url):
    files = tmp_path / "files"
    for split in ("train", "val"):
        (files / split).mkdir(parents=True)
        for i, jpeg in enumerate(pictures(6)):
            # A name longer than a tar header has room for, and one that is not ASCII.
            name = files / split / (f"{i}-é-" + "long" * 40)
            name.with_suffix(".jpg").write_bytes(jpeg)
            name.with_suffix(".json").write_text('{"label": "%s"}' % ("cat" if i % 2 else "dog"))
        subprocess.run(
            ["tar", "-cf", f"../{split}.tar", "--sort=name", "."], cwd=files / split, check=True
        )
        open_store(bucket_url).upload(tmp_path / "files" / f"{split}.tar", f"{split}.tar")
    assert prepare_shards.main([bucket_url]) == 0
    store = open_store(bucket_url)
    known = manifest.read(store)
    assert known.classes == ("cat", "dog")
    parts = ValidationParts(
        store=store,
        manifest=known,
        data=tiny_run(bucket_url).data,
        batch_size=4,
        rank=0,
        world_size=1,
    )
    labels = torch.cat([part.labels for group in ValidationStream(parts) for part in group])
    assert labels.tolist() == [1, 0, 1, 0, 1, 0]


def test_new_shards_make_a_new_manifest_and_the_old_one_stays(tmp_path, capfd):
    folder = tmp_path / "set"
    old = write_shards(folder, "train", 8)
    write_shards(folder, "val", 4, seed=1)
    assert prepare_shards.main([str(folder)]) == 0
    store = open_store(str(folder))
    first = manifest.read(store)
    assert prepare_shards.main([str(folder), "--add"]) == 2
    assert "no new shard is here" in capfd.readouterr().err

    new = write_shards(folder, "train", 4, seed=2, first=2)
    assert prepare_shards.main([str(folder), "--add"]) == 0
    second = manifest.read(store)
    assert list(delivered(store, second, "train")) == old + new
    assert list(delivered(store, second)) == list(delivered(store, first))
    again = manifest.read(store, f"manifest-{first.digest[:12]}.json")
    assert again.digest == first.digest
    assert list(delivered(store, again, "train")) == old
    assert not store.exists("preparing")


def cut(path):
    path.write_bytes(path.read_bytes()[:-9000])


@pytest.mark.parametrize(
    ("train", "val", "spoil", "message"),
    [
        (0, 0, None, "set: no shard is here"),
        (4, 0, None, "no shard for the '(val|train)' split"),
        (8, 4, lambda path: path.write_bytes(b"x" * 2000), "val-0000.tar: not an uncompressed tar"),
        (8, 4, cut, "val-0000.tar: the tar is cut"),
        (8, 4, lambda path: path.rename(path.with_name("more.tar")), "more.tar: the name says"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, capfd, train, val, spoil, message):
    folder = tmp_path / "set"
    write_shards(folder, "train", train)
    write_shards(folder, "val", val)
    if spoil:
        spoil(folder / "val-0000.tar")
    assert prepare_shards.main([str(folder)]) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "prepare_shards:" in line]
    assert re.search(message, line)
    assert not (folder / manifest.MANIFEST_NAME).exists()


def test_with_a_destination_shards_are_written_anew_and_their_folder_stays_as_it_is(tmp_path):
    write_shards(tmp_path / "set", "train", 8)
    before = {path: path.read_bytes() for path in (tmp_path / "set").iterdir()}
    assert prepare_shards.main([str(tmp_path / "set"), str(tmp_path / "copy")]) == 0
    made = manifest.read(open_store(str(tmp_path / "copy")))
    assert sum(made.num_samples(split) for split in made.splits) == 8
    assert {path: path.read_bytes() for path in (tmp_path / "set").iterdir()} == before
