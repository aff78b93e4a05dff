"""Of shards of other tools, what WebDataset's reader takes is used, or it is said why not."""

import json
from pathlib import PurePosixPath

import cv2
import numpy as np
import pytest
import torch
import webdataset as wds

from alexnet.dataset import manifest
from alexnet.errors import DataError
from alexnet.loading.data_loader import ValidationStream
from alexnet.loading.samples import ValidationParts
from alexnet.preparation import existing_shards, job
from alexnet.preparation.account import count
from alexnet.preparation.existing_shards import Part
from alexnet.preparation.sources.class_map import ClassMap
from alexnet.preparation.sources.suffixes import DECODED
from tests.foreign_tars import CLASSES, foreign_tar, num_members
from tests.preparing import index
from tests.tars import Memory, tar_of, write
from tests.tiny_data import batches, pictures, tiny_run, train_parts


def shard(*jpegs):
    """A tar of images, each of the next class."""
    return tar_of(
        [
            member
            for label, jpeg in enumerate(jpegs)
            for member in ((f"t{label}.jpg", jpeg), (f"t{label}.cls", b"%d" % label))
        ]
    )


VAL = shard(next(pictures(1)))


def truth(sample):
    """Label of a sample of the webdataset package; None for a reject."""
    path = PurePosixPath(sample["__key__"])
    if "cls" in sample:
        found = [sample["cls"].decode("utf-8-sig").strip()]
    else:
        tree = json.loads(sample.get("json", "[]"))
        fields = ("label", "cls", "class") if isinstance(tree, dict) else ()
        found = [tree[key] for key in fields if key in tree]
    by_name = [name for name in CLASSES if path.parent.name == name]
    by_name += [name for name in ("cat", "dog") if path.name.startswith(f"{name}_")]
    value = [*found, *by_name, None][0]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return CLASSES.index(value) if value in CLASSES else None
    return int(number) if number >= 0 else None


def expected(path):
    """(bytes, label) of the images that must be used of a shard, and how many must be rejected."""
    used, rejected = [], 0
    for sample in wds.WebDataset(str(path), shardshuffle=False, empty_check=False):
        image = next((sample[suffix[1:]] for suffix in DECODED if suffix[1:] in sample), None)
        if image and len(image) > len(b"broken") and truth(sample) is not None:
            used.append((image, truth(sample)))
        else:
            rejected += image is not None or "cls" in sample
    return used, rejected


def indexed(store, found):
    """(bytes, label) of each image that the index of a shard has."""
    rows = manifest.read_index(store, found).samples.tolist() if found else []
    return [(store.read(found.name, offset, length), label) for offset, length, label, _ in rows]


@pytest.mark.slow
def test_foreign_tars_are_used_as_the_webdataset_package_reads_them_or_refused(tmp_path):
    read = 0
    for seed in range(200):
        folder = tmp_path / str(seed)
        store = write(folder, {"train.tar": foreign_tar(seed), "val.tar": VAL})
        made = existing_shards.job(store, None, ClassMap(CLASSES), map)
        part = next(part for part in made.parts() if part.split == "train")
        try:
            record = made.make(part, store)
        except DataError as error:
            message = str(error)
            assert message.startswith(f"{folder}/train.tar: ")
            assert message.isprintable()
            continue
        used, rejected = expected(folder / "train.tar")
        assert indexed(store, record.shard) == used, seed
        assert record.findings.num_rejected >= rejected, seed
        read += 1
    assert read > 100


@pytest.mark.slow
@pytest.mark.slow
def test_every_member_of_a_thousand_foreign_tars_is_used_rejected_or_named():
    read = 0
    for seed in range(1000):
        data = foreign_tar(seed)
        part = Part("x.tar", "train", 0, 0.0)
        try:
            found = existing_shards.make(part, Memory(data), classes=ClassMap(CLASSES)).findings
        except DataError:
            continue
        others = count(found.account.passed_over) + count(found.account.not_images)
        all_found = found.num_usable + found.num_rejected + others
        assert found.account.found == all_found == max(num_members(data), 1), seed
        read += 1
    assert read > 500


def test_numbers_are_classes_in_the_order_of_numbers_however_they_are_written(tmp_path):
    jpegs = list(pictures(26))
    files = [[(f"t{i}.jpg", jpegs[i]), (f"t{i}.cls", b"%d.0" % i)] for i in range(12)]
    files += [
        [(f"u{i}.jpg", jpegs[12 + i]), (f"u{i}.json", b'{"label": %d}' % i)] for i in range(12)
    ]
    odd = [("x.jpg", jpegs[24]), ("x.cls", b""), ("y.jpg", jpegs[25]), ("y.cls", b"-1")]
    train = tar_of([*(each for sample in files for each in sample), *odd])
    store = write(tmp_path, {"train.tar": train, "val.tar": VAL})
    known, _, account = index(tmp_path, max_rejects=0.5)
    assert known.classes == tuple(str(i) for i in range(12))
    (train,) = known.split("train")
    assert [label for _, label in indexed(store, train)] == [*range(12), *range(12)]
    assert account.startswith(
        "used 25, rejected 2, passed over 0, not images 27 (.cls 15, .json 12)"
    )


def test_what_is_beside_the_samples_is_named(tmp_path):
    zero, one = pictures(2)
    train = [("._t0.jpg", b"Mac"), ("._t0.cls", b"Mac"), ("t1.jpg", one), ("t1.cls", b"1")]
    train += [("t0.jpg", zero), ("t0.cls", b"0"), ("t0.seg.png", b"mask"), ("__keys__", b"t0")]
    files = {"train.tar": tar_of(train), "val.tar": VAL, "train_1.tar": tar_of([]), "a.txt": b""}
    write(tmp_path, files)
    known, _, account = index(tmp_path)
    assert known.split("train")[0].num_samples == 2
    assert account == (
        "used 3, rejected 0, passed over 5 (._* 2, a shard without files 1, another image of a "
        "sample 1, ...), not images 4 (.cls 3, .txt 1)"
    )


def test_images_whose_keys_have_dots_are_rejected_by_name(tmp_path):
    jpegs = list(pictures(2))
    files = [("photo.1.jpg", jpegs[0]), ("photo.1.cls", b"0"), ("a.jpg", jpegs[1]), ("a.cls", b"0")]
    store = write(tmp_path, {"train.tar": tar_of(files), "val.tar": VAL})
    made = existing_shards.job(store, None, ClassMap(("0", "1")), map)
    (part,) = (part for part in made.parts() if part.split == "train")
    findings = made.make(part, store).findings
    assert findings.num_usable == 1
    (reject,) = findings.rejects
    assert reject.name == "train.tar: photo.1.jpg"
    assert "has no .jpg, .jpeg" in reject.message


@pytest.mark.parametrize("name", ["train-1.tar.gz", "train-1.tgz", "train-1.tar.zst"])
def test_a_compressed_shard_beside_others_is_refused(tmp_path, name):
    store = write(tmp_path, {"train-0.tar": VAL, "val-0.tar": VAL, name: b"packed"})
    with pytest.raises(DataError, match=f"{name}: a compressed tar. Decompress it first"):
        existing_shards.job(store, None, None, map)


def test_webp_and_png_of_the_same_pixels_are_trained_on_alike(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 70, 80, 3), dtype=np.uint8)
    shards = {}
    for split in ("train", "val"):
        files = []
        for i, image in enumerate(pixels):
            suffix = (".webp", ".png")[i % 2]
            same = pixels[i // 2 * 2] if split == "val" else image
            encoded = cv2.imencode(suffix, same, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
            files += [(f"{i}{suffix}", encoded), (f"{i}.cls", b"%d" % (i % 3))]
        shards[f"{split}.tar"] = tar_of(files)
    store = write(tmp_path, shards)
    known = index(tmp_path).manifest
    config = tiny_run(str(tmp_path))
    assert all(not batch.skipped for batch in batches(train_parts(store, known, config)))
    parts = ValidationParts(
        store=store, manifest=known, data=config.data, batch_size=12, rank=0, world_size=1
    )
    ((batch,),) = ValidationStream(parts)
    assert torch.equal(batch.images[::2], batch.images[1::2])
    assert batch.labels.tolist() == [0, 1, 2] * 4


def test_an_indexing_that_was_interrupted_goes_on_beside_its_records(tmp_path):
    a, b, c, d = pictures(4)
    files = {"train.tar": shard(a, b), "val.tar": shard(c, d), "train.tar.md5": b"0"}
    store = write(tmp_path, files)
    made = existing_shards.job(store, None, None, map)
    job.begin(store, made)
    next(job.make_parts(store, made, map))
    known, _, account = index(tmp_path)
    assert known.num_samples("train") == 2
    assert account.startswith("used 4, rejected 0")


def test_a_shard_that_was_mended_is_looked_at_again(tmp_path):
    a, b, c, d = pictures(4)
    write(tmp_path, {"train.tar": shard(a, b"broken"), "val.tar": shard(c, d)})
    with pytest.raises(DataError, match="1 of 4 images cannot be used"):
        index(tmp_path)
    store = write(tmp_path, {"train.tar": shard(b, a)})
    known, _, account = index(tmp_path)
    assert indexed(store, known.split("train")[0]) == [(b, 0), (a, 1)]
    assert account.startswith("used 4, rejected 0")
