"""Samples are those that the webdataset package finds; splits and classes follow from names."""

import io

import pytest
import webdataset as wds
from hypothesis import given
from hypothesis import strategies as st

from alexnet.errors import ConfigError, DataError
from alexnet.preparation.sources import webdataset
from alexnet.preparation.sources.tar_stream import Walk
from alexnet.preparation.sources.webdataset import ClassMap
from tests.tars import Memory, tar_of

keys = st.lists(
    st.text("abcxyz019_-/", min_size=1, max_size=12).map(lambda key: "k" + key.strip("/")),
    min_size=1,
    max_size=8,
    unique=True,
)


def found_in(files):
    return list(webdataset.samples(Walk(Memory(tar_of(files)), "x.tar")))


@given(keys, st.sampled_from(webdataset.IMAGES), st.data())
def test_samples_are_those_of_the_webdataset_package(names, suffix, data):
    files = []
    for number, key in enumerate(names):
        members = [(key + suffix, b"image %d" % number), (f"{key}.cls", b"%d\n" % number)]
        files += data.draw(st.permutations([*members, (f"{key}.txt", b"more")]))
    members = wds.tariterators.tar_file_expander(
        [{"url": "x", "stream": io.BytesIO(tar_of(files))}]
    )
    expected = list(wds.tariterators.group_by_keys(members))
    found = found_in(files)
    assert [sample.key for sample in found] == [sample["__key__"] for sample in expected]
    assert [sample.image.data for sample in found] == [sample[suffix[1:]] for sample in expected]
    assert [sample.label for sample in found] == [str(i) for i in range(len(names))]


@pytest.mark.parametrize(
    ("members", "label"),
    [
        ([("a.jpg", b"x"), ("a.cls", b" 3\n")], 3),
        ([("a.jpg", b"x"), ("a.cls", b"dog")], 1),
        ([("a.JPEG", b"x"), ("a.json", b'{"label": 2, "cls": 0}')], 2),
        ([("a.png", b"x"), ("a.json", b'{"cls": "cat"}')], 0),
        ([("dog/a.jpg", b"x")], 1),
        ([("cat_17.jpg", b"x"), ("cat_17.json", b'{"width": 3}')], 0),
        ([("bird_17.jpg", b"x")], None),
    ],
)
def test_the_class_is_where_people_put_it(members, label):
    (sample,) = found_in(members)
    assert sample.image.data == b"x"
    assert ClassMap(("cat", "dog", "2", "three")).label(sample) == label


@pytest.mark.parametrize("text", [b"4", b"-1", b"bird", b""])
def test_a_class_that_is_none_is_named(text):
    (sample,) = found_in([("a.jpg", b"x"), ("a.cls", text)])
    with pytest.raises(DataError, match=r"memory/x\.tar: a: class .* is not one of the 2 classes"):
        ClassMap(("cat", "dog")).label(sample)


def test_broken_json_is_named():
    with pytest.raises(DataError, match=r"memory/x\.tar: a\.json: not JSON"):
        found_in([("a.jpg", b"x"), ("a.json", b"{")])


@pytest.mark.parametrize(
    ("names", "train", "val"),
    [
        (["a-train-0.tar", "a-val-0.tar"], ["a-train-0.tar"], ["a-val-0.tar"]),
        (["train/0.tar", "validation/0.tar"], ["train/0.tar"], ["validation/0.tar"]),
        (["train_1.tar", "valid_1.tar", "test_1.tar"], ["train_1.tar"], ["valid_1.tar"]),
    ],
)
def test_names_tell_the_split(names, train, val):
    assert webdataset.shards("x", names, 0.05) == {"train": train, "val": val}


@given(st.sets(st.integers(0, 999), min_size=2, max_size=40), st.floats(0, 0.9))
def test_without_a_validation_split_shards_are_dealt_by_their_names(numbers, val_share):
    names = [f"{number:03d}.tar" for number in numbers]
    one = webdataset.shards("x", names, val_share)
    assert sorted(one["train"] + one["val"]) == sorted(names)
    more = webdataset.shards("x", [*names, "new.tar"], val_share)
    moved = set(one["val"]) - set(more["val"])
    assert len(moved) <= 1  # only the one that was there because there must be one


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train-0.tar", "val-0.tar", "more-0.tar"], "more-0.tar: the name says neither"),
        (["val-0.tar"], "no shard for the 'train' split"),
        (["0.tar"], "no shard for the 'train' split|no shard for the 'val' split"),
    ],
)
def test_names_that_do_not_tell_are_refused(names, message):
    with pytest.raises(DataError, match=message):
        webdataset.shards("x", names, 0.05)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [(["1", "0", "2"], ("0", "1", "2")), (["dog", "cat", "dog"], ("cat", "dog"))],
)
def test_classes_are_found_in_the_shards(labels, classes):
    files = [(f"{i}.{kind}", text.encode()) for i, text in enumerate(labels) for kind in ("cls",)]
    assert webdataset.find_classes(Memory(tar_of(files)), ["x.tar"], map).names == classes


def test_a_number_without_images_is_named():
    files = [("a.cls", b"0"), ("b.cls", b"2")]
    with pytest.raises(DataError, match="2 classes, but no image of class 1"):
        webdataset.find_classes(Memory(tar_of(files)), ["x.tar"], map)


@pytest.mark.parametrize(
    "text", ["cat\ndog\n", '["cat", "dog"]', '{"dog": 1, "cat": 0}', "cat\r\n\r\ndog"]
)
def test_a_class_map_is_lines_or_json(tmp_path, text):
    path = tmp_path / "classes"
    path.write_text(text)
    assert webdataset.read_class_map(path).names == ("cat", "dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no class"),
        ("cat\ncat", "'cat' is there 2 times"),
        ("{", "cannot be read"),
        ('{"cat": 1, "dog": 2}', "must be the numbers from 0 to 1"),
    ],
)
def test_a_class_map_that_is_none_is_refused(tmp_path, text, message):
    path = tmp_path / "classes"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        webdataset.read_class_map(path)
