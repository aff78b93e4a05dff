"""Classes are what labels, folders and names of shards say, numbers in the order of numbers."""

import pytest

from alexnet.errors import ConfigError, DataError
from alexnet.preparation.sources import class_map, webdataset
from alexnet.preparation.sources.class_map import ClassMap
from alexnet.preparation.sources.tar_stream import Walk
from tests.tars import Memory, tar_of


def found_in(files):
    return list(webdataset.samples(Walk(Memory(tar_of(files)), "x.tar")))


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


@pytest.mark.parametrize(
    ("suffix", "text"),
    [("cls", text) for text in (b"", b"-1", b"-1.0", b"NaN")]
    + [("json", b'{"label": %s}' % value) for value in (b"null", b"NaN", b"[1]", b"-1", b'""')],
)
def test_a_label_that_says_none_is_none_wherever_the_image_lies(suffix, text):
    (sample,) = found_in([("cat/a.jpg", b"x"), (f"cat/a.{suffix}", text)])
    assert ClassMap(("cat", "dog")).label(sample) is None


@pytest.mark.parametrize("key", ["1", "1_7", "cat"])
def test_the_number_or_the_whole_of_a_key_is_no_class(key):
    (sample,) = found_in([(f"{key}.jpg", b"x")])
    assert ClassMap(("0", "1", "cat")).label(sample) is None


@pytest.mark.parametrize("text", [b"4", b"3.5", b"bird", b"9" * 5000])
def test_a_class_that_is_none_is_named(text):
    (sample,) = found_in([("a.jpg", b"x"), ("a.cls", text)])
    with pytest.raises(DataError, match=r"memory/x\.tar: a: class .* is not one of the 2 classes"):
        ClassMap(("cat", "dog")).label(sample)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [(["1", "0", "2"], ("0", "1", "2")), (["dog", "cat", "dog"], ("cat", "dog"))],
)
def test_classes_are_found_in_the_shards(labels, classes):
    files = [(f"{i}.{kind}", text.encode()) for i, text in enumerate(labels) for kind in ("cls",)]
    assert class_map.find_classes(Memory(tar_of(files)), ["x.tar"], map).names == classes


def test_a_number_without_images_is_named():
    files = [("a.cls", b"0"), ("b.cls", b"2")]
    with pytest.raises(DataError, match="2 classes, but no image of class 1"):
        class_map.find_classes(Memory(tar_of(files)), ["x.tar"], map)


@pytest.mark.parametrize(
    "text",
    ["cat\ndog\n", "\ufeffcat\ndog", '["cat", "dog"]', '{"dog": 1, "cat": 0}', "cat\r\n\r\ndog"],
)
def test_a_class_map_is_lines_or_json(tmp_path, text):
    path = tmp_path / "classes"
    path.write_text(text)
    assert class_map.read_class_map(path).names == ("cat", "dog")


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
        class_map.read_class_map(path)
