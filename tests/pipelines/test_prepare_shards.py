"""The command writes a data set, or says in one line why not and writes nothing."""

import tarfile

import cv2
import numpy as np
import pytest

from alexnet import images, manifest
from alexnet.adapters.object_store import open_store
from pipelines import prepare_shards


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
    destination = tmp_path / "shards"
    assert prepare_shards.main([str(pictures), str(destination), "--samples-per-shard", "4"]) == 0
    made = manifest.read(open_store(str(destination)))
    assert made.classes == ("cat", "dog")
    assert list(made.split("train").sizes) == [4, 4, 2]
    assert made.num_samples("val") == 4
    assert made.digest in capsys.readouterr().out


@pytest.mark.slow
def test_a_tar_becomes_the_same_data_set_in_s3(pictures, tmp_path, s3_env, bucket_url):
    tar = tmp_path / "pictures.tar"
    with tarfile.open(tar, "w") as archive:
        archive.add(pictures, arcname=".")
    local, remote = str(tmp_path / "set"), f"{bucket_url}/set"
    assert prepare_shards.main([str(pictures), local]) == 0
    assert prepare_shards.main([str(tar), remote]) == 0
    assert manifest.read(open_store(local)).digest == manifest.read(open_store(remote)).digest


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


def test_a_source_that_is_not_there_is_one_line_and_status_2(tmp_path, capsys):
    assert prepare_shards.main(["/nowhere", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert error == (
        "prepare_shards: /nowhere: no such folder or tar. Name one with train/ and val/ in it.\n"
    )
    assert not (tmp_path / "x" / manifest.MANIFEST_NAME).exists()


@pytest.mark.parametrize("option", ["--short-side", "--samples-per-shard"])
def test_a_size_of_nothing_is_refused(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        prepare_shards.main(["a", "b", option, "0"])
    assert f"{option} 0: must be 1 or more" in capsys.readouterr().err


@pytest.mark.slow
def test_a_read_only_identity_cannot_write(pictures, bucket_url, s3, monkeypatch, capsys):
    from alexnet.adapters.object_store import s3_client

    for name, value in s3.reader_env().items():
        monkeypatch.setenv(name, value)
    s3_client.forget_client()
    assert prepare_shards.main([str(pictures), bucket_url]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
