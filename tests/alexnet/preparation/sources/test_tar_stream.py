"""One pass gives every member's content and the digest of the file, or says what is wrong."""

import hashlib
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.errors import DataError
from alexnet.preparation.sources import tar_stream
from alexnet.preparation.sources.tar_stream import Walk
from tests.tars import Memory, archives, tar_of


@given(archives, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.integers(1, 5000))
def test_content_and_digest_are_those_of_the_file(files, style, piece):
    data = tar_of(files, style)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tar_stream, "PIECE_BYTES", 512 * piece)
        walk = Walk(Memory(data), "x.tar")
        found = list(walk)
    assert [(member.name, member.data) for member in found] == files
    assert all(data[m.offset : m.offset + m.length] == m.data for m in found)
    assert (walk.num_bytes, walk.sha256) == (len(data), hashlib.sha256(data).digest())


@given(archives.filter(bool), st.data())
def test_a_cut_anywhere_is_refused(files, data):
    whole = tar_of(files)
    # Two blocks of zeros are the end; tars are filled up with more of them.
    last = len(whole.rstrip(b"\0"))
    cut = data.draw(st.integers(0, last))
    with pytest.raises(DataError, match=r"x\.tar: (the tar is cut|not an uncompressed tar)"):
        list(Walk(Memory(whole[:cut]), "x.tar"))


def test_a_member_too_large_for_an_image_is_not_read(monkeypatch):
    monkeypatch.setattr(tar_stream, "MAX_MEMBER_BYTES", 9)
    files = [("small", b"123456789"), ("large", b"1234567890"), ("after", b"1")]
    found = list(Walk(Memory(tar_of(files)), "x.tar"))
    assert [member.data for member in found] == [b"123456789", None, b"1"]


def test_what_is_not_a_tar_is_named():
    with pytest.raises(DataError, match="a compressed tar"):
        list(Walk(Memory(b"\x1f\x8b" + b"0" * 600), "x.tar"))
    with pytest.raises(DataError, match="not an uncompressed tar"):
        list(Walk(Memory(b"hello" * 300), "x.tar"))
