"""The command writes a data set, or says in one line why not and writes nothing."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from alexnet import images
from alexnet.adapters.object_store import open_store, s3_client
from alexnet.dataset import manifest
from alexnet.preparation.sources.listing import SUSPICIONS
from pipelines import prepare_shards

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stays_connected")]

SCRIPT = Path(prepare_shards.__file__)


@pytest.fixture
def pictures(tmp_path):
    """Two classes, five training and two validation images each."""
    rng = np.random.default_rng(0)
    root = tmp_path / "pictures"
    for split, count in (("train", 5), ("val", 2)):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
                path = root / split / name / f"{i}.jpg"
                path.write_bytes(images.encode_jpeg(image))
    return root


def test_a_folder_becomes_a_data_set_on_disk(pictures, tmp_path, capsys):
    destination = tmp_path / "my 'set'"
    (pictures / ".DS_Store").write_bytes(b"")
    assert prepare_shards.main([str(pictures), str(destination), "--samples-per-shard", "4"]) == 0
    made = manifest.read(open_store(str(destination)))
    assert made.classes == ("cat", "dog")
    assert list(made.split("train").sizes) == [4, 4, 2]
    assert made.num_samples("val") == 4
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "used 14, rejected 0, passed over 1 (.DS_Store 1), not images 0"
    assert lines[2] == "4 validation images tell a difference in top-1 of 43.8% from chance"
    assert lines[3] == f"manifest digest {made.digest}"
    tree = json.loads((destination / f"report-{made.digest[:12]}.json").read_text())
    assert tree["account"]["found"] == 15
    assert f"data.url={destination}" in shlex.split(lines[-1])


def test_what_looks_like_a_mistake_ends_it_unless_it_is_accepted(pictures, tmp_path, capfd):
    for split in ("train", "val"):
        (pictures / split / "owl").mkdir()
        (pictures / split / "owl" / "1.txt").write_bytes(b"no image")
    arguments = [str(pictures), str(tmp_path / "shards")]
    assert prepare_shards.main(arguments) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "prepare_shards:" in line]
    assert "train/owl/ has no image, only train/owl/1.txt" in line
    assert not list((tmp_path / "shards").glob("*"))
    assert "add --accept empty-class" in line
    accepted = ["--accept", "empty-class", "--accept", "other-files"]
    assert prepare_shards.main([*arguments, *accepted]) == 0


def test_every_kind_of_mistake_can_be_accepted():
    text = subprocess.check_output([sys.executable, SCRIPT, "--help"], text=True)
    kinds, *_ = re.findall(r"--accept \{(.*?)\}", text)
    assert kinds.split(",") == list(SUSPICIONS)


def test_a_tar_becomes_the_same_data_set_in_s3(pictures, tmp_path, s3_env, bucket_url):
    tar = tmp_path / "pictures.tar"
    with tarfile.open(tar, "w") as archive:
        archive.add(pictures, arcname=".")
    local, remote = str(tmp_path / "set"), f"{bucket_url}/set"
    assert prepare_shards.main([str(pictures), local]) == 0
    assert prepare_shards.main([str(tar), remote]) == 0
    assert manifest.read(open_store(local)).digest == manifest.read(open_store(remote)).digest


def test_names_in_any_bytes_reach_the_workers_and_come_back(pictures, tmp_path, capfd):
    cat, odd = pictures / "train" / "cat", os.fsdecode(b"caf\xe9\n.jpg")
    (cat / "0.jpg").rename(cat / odd)
    (cat / f"broken{odd}").write_bytes(b"")
    for split in ("train", "val"):
        (pictures / split / "cat").rename(pictures / split / os.fsdecode(b"c\xe4t"))
    destination = tmp_path / os.fsdecode(b"s\xe9t")
    assert prepare_shards.main([str(pictures), str(destination), "--max-rejects", "0.1"]) == 0
    out = capfd.readouterr().out
    assert "used 14, rejected 1, passed over 0, not images 0" in out
    (report,) = destination.glob("report-*.json")
    tree = json.loads(report.read_text())
    assert [item["name"] for item in tree["rejects"]] == [r"train/c\xe4t/brokencaf\xe9\n.jpg"]
    assert manifest.read(open_store(str(destination))).classes == (r"c\xe4t", "dog")


def test_the_short_side_is_scaled(pictures, tmp_path):
    store = open_store(str(tmp_path / "small"))
    assert prepare_shards.main([str(pictures), store.url, "--short-side", "30"]) == 0
    shard = manifest.read(store).split("val")[0]
    row = manifest.read_index(store, shard).samples[0]
    jpeg = store.read(shard.name, int(row["offset"]), int(row["length"]))
    assert images.decode(jpeg).shape == (30, 40, 3)
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) is not None


def test_a_destination_with_a_data_set_is_left_as_it_is(pictures, tmp_path, capsys):
    destination = tmp_path / "shards"
    assert prepare_shards.main([str(pictures), str(destination)]) == 0
    before = {path: path.read_bytes() for path in destination.iterdir()}
    assert prepare_shards.main([str(pictures), str(destination), "--short-side", "30"]) == 2
    assert "a data set is already here" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in destination.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere", "{out}"], "/nowhere: nothing is here"),
        (["/etc/passwd", "{out}"], "/etc/passwd: not an uncompressed tar"),
        (["{pictures}", "{pictures}"], "not empty: train/cat/0.jpg is here"),
        (["{pictures}", "{out}", "--short-side", "0"], "--short-side 0: must be 1 or more"),
        (["{pictures}", "{out}", "--samples-per-shard=0"], "--samples-per-shard 0: must be 1"),
        (["{pictures}", "{out}", "--max-rejects", "1"], r"--max-rejects 1.0: must be in \[0, 1\)"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(pictures, tmp_path, capfd, arguments, message):
    places = {"out": tmp_path / "out", "pictures": pictures}
    assert prepare_shards.main([argument.format(**places) for argument in arguments]) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "prepare_shards:" in line]
    assert re.search(message, line)
    assert not list((tmp_path / "out").glob("*"))


def test_rejected_images_are_in_the_report_and_not_in_the_shards(pictures, tmp_path, capfd):
    (pictures / "train" / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (pictures / "val" / "dog" / "leak.jpg").write_bytes(
        (pictures / "train" / "dog" / "1.jpg").read_bytes()
    )
    destination = tmp_path / "shards"
    arguments = [str(pictures), str(destination), "--samples-per-shard", "4"]
    assert prepare_shards.main([*arguments, "--max-rejects", "0.05"]) == 2
    assert "1 of 16 images cannot be used (1 broken)" in capfd.readouterr().err
    assert not (destination / manifest.MANIFEST_NAME).exists()

    assert prepare_shards.main([*arguments, "--max-rejects", "0.1"]) == 0
    assert manifest.read(open_store(str(destination))).num_samples("train") == 10
    (report,) = destination.glob("report-*.json")
    tree = json.loads(report.read_text())
    assert [item["name"] for item in tree["rejects"]] == ["train/cat/broken.jpg"]
    assert tree["duplicates"]["across_splits"] == 1
    assert tree["duplicates"]["groups"] == [["train/dog/1.jpg", "val/dog/leak.jpg"]]
    assert "train/cat/broken.jpg" in report.with_suffix(".html").read_text()
    assert not (destination / "preparing").exists()


def test_images_without_a_validation_split_are_split_by_their_names(pictures, tmp_path):
    first, second = tmp_path / "one", tmp_path / "two"
    arguments = ["--val-share", "0.4"]
    assert prepare_shards.main([str(pictures / "train"), str(first), *arguments]) == 0
    (pictures / "train" / "cat" / "new.jpg").write_bytes(
        (pictures / "val" / "cat" / "0.jpg").read_bytes()
    )
    assert prepare_shards.main([str(pictures / "train"), str(second), *arguments]) == 0
    one, two = keys_of(first, "val"), keys_of(second, "val")
    assert one
    assert one <= two
    assert keys_of(first, "train") <= keys_of(second, "train")


def keys_of(folder, split):
    """Names of a split's images, without those of their shards and rows."""
    names = []
    for path in folder.glob(f"{split}-*.tar"):
        with tarfile.open(path) as tar:
            names += [member.name.split("-", 3)[3] for member in tar if "jpg" in member.name]
    return set(names)


def test_an_interrupted_run_gives_the_files_of_an_undisturbed_one(pictures, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed" / "set", tmp_path / "killed" / "set"
    arguments = ["--samples-per-shard", "1"]
    assert prepare_shards.main([str(pictures), str(undisturbed), *arguments]) == 0
    for count in (2, 8):
        kill_after_records(count, [str(pictures), str(killed), *arguments])
        assert not (killed / manifest.MANIFEST_NAME).exists()
    assert prepare_shards.main([str(pictures), str(killed), *arguments]) == 0
    assert files_of(killed) == files_of(undisturbed)


def kill_after_records(count, arguments):
    """Start the command, and end it by SIGKILL once so many parts are made."""
    process = subprocess.Popen([sys.executable, str(SCRIPT), *arguments], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(Path(arguments[1]).glob("preparing/*/*.tar.json"))) < count:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_an_unfinished_preparation_is_not_mixed_with_another(pictures, tmp_path, capfd):
    destination = tmp_path / "set"
    kill_after_records(1, [str(pictures), str(destination), "--samples-per-shard", "1"])
    assert prepare_shards.main([str(pictures), str(destination), "--samples-per-shard", "2"]) == 2
    assert "an unfinished preparation with other settings or images is here" in (
        capfd.readouterr().err
    )


def test_new_images_become_new_shards_and_the_old_manifest_stays(pictures, tmp_path, capfd):
    destination = tmp_path / "set"
    store = open_store(str(destination))
    arguments = [str(pictures), str(destination), "--samples-per-shard", "4"]
    assert prepare_shards.main([*arguments, "--add"]) == 2
    assert "--add needs a data set to add to" in capfd.readouterr().err
    assert prepare_shards.main(arguments) == 0
    first, before = manifest.read(store), files_of(destination)

    new = tmp_path / "new"
    (new / "train" / "dog").mkdir(parents=True)  # of one class only, and of no val split
    for i in range(5):
        image = np.full((64, 64, 3), 40 * i, np.uint8)
        (new / "train" / "dog" / f"{i}.jpg").write_bytes(images.encode_jpeg(image))
    arguments = [str(new), str(destination), "--samples-per-shard", "4", "--add"]
    assert prepare_shards.main([*arguments, "--val-share", "0.3"]) == 0
    second = manifest.read(store)
    assert second.classes == first.classes
    assert second.colour == first.colour
    train, val = second.num_samples("train"), second.num_samples("val")
    assert (train + val, train > 10) == (10 + 4 + 5, True)
    assert second.split("train")[3].name == "train-000003.tar"

    after = files_of(destination)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {manifest.MANIFEST_NAME}
    assert manifest.read(store, f"manifest-{first.digest[:12]}.json").digest == first.digest
    assert not (destination / "preparing").exists()


def test_images_of_an_unknown_class_are_not_added(pictures, tmp_path, capfd):
    destination = tmp_path / "set"
    assert prepare_shards.main([str(pictures), str(destination)]) == 0
    (pictures / "train" / "dog").rename(pictures / "train" / "ant")
    (pictures / "val" / "dog").rename(pictures / "val" / "ant")
    before = files_of(destination)
    assert prepare_shards.main([str(pictures), str(destination), "--add"]) == 2
    assert "class 'ant' is not one of the data set's 2" in capfd.readouterr().err
    assert files_of(destination) == before


def test_a_class_of_which_nothing_can_be_used_is_named(pictures, tmp_path, capfd):
    for path in (pictures / "train" / "dog").iterdir():
        path.write_bytes(b"no image")
    destination = tmp_path / "set"
    assert prepare_shards.main([str(pictures), str(destination), "--max-rejects", "0.9"]) == 2
    assert "class 'dog' has no image to train on that can be used" in capfd.readouterr().err
    assert not (destination / manifest.MANIFEST_NAME).exists()


def test_a_read_only_identity_cannot_write(pictures, bucket_url, s3, monkeypatch, capsys):
    for name, value in s3.reader_env().items():
        monkeypatch.setenv(name, value)
    s3_client.forget_client()
    assert prepare_shards.main([str(pictures), bucket_url]) == 2
    assert "access denied" in capsys.readouterr().err
