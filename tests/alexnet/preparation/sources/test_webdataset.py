"""Samples are those that the webdataset package finds."""

import io
from tarfile import GNUTYPE_SPARSE, LNKTYPE, SYMTYPE

import pytest
import webdataset as wds
from hypothesis import given
from hypothesis import strategies as st

from alexnet.errors import DataError
from alexnet.preparation.sources import webdataset
from alexnet.preparation.sources.tar_stream import Walk
from tests.tars import Memory, member, tar_of, tar_of_members

keys = st.lists(
    st.text("abcxyz019_-/", min_size=1, max_size=12).map(lambda key: "k" + key.strip("/")),
    min_size=1,
    max_size=8,
    unique=True,
)


def found_in(files):
    return list(webdataset.samples(Walk(Memory(tar_of(files)), "x.tar")))


@given(keys, st.sampled_from(webdataset.DECODED), st.data())
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
    ("members", "message"),
    [
        ([member("a.jpg"), member("a.jpg")], "sample 'a' has .jpg twice"),
        ([member("a.jpg"), member("b.jpg"), member("a.cls")], "parts of sample 'a' are not next"),
        ([member("a.__bad__", b"1")], "a.__bad__: WebDataset's reader uses .__bad__ for itself"),
        ([member("a.jpg"), member("b.jpg", b"", LNKTYPE, "a.jpg")], "b.jpg is a link"),
        ([member("a.jpg", b"", SYMTYPE, "a.jpg")], "a.jpg is a link"),
        ([member("a.jpg", b"", GNUTYPE_SPARSE)], "a.jpg is a sparse file"),
    ],
)
def test_what_the_webdataset_package_takes_otherwise_is_refused(members, message):
    with pytest.raises(DataError, match=rf"^memory/x\.tar: .*{message}"):
        list(webdataset.samples(Walk(Memory(tar_of_members(*members)), "x.tar")))


def test_broken_json_is_named():
    with pytest.raises(DataError, match=r"memory/x\.tar: a\.json: not JSON"):
        found_in([("a.jpg", b"x"), ("a.json", b"{")])
