"""Members are found where `tarfile` finds them, and no cut passes unseen."""

import io
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.errors import DataError
from alexnet.preparation.sources.tar_scan import members
from alexnet.preparation.sources.tar_stream import Walk
from alexnet.storage.store import EMPTY
from tests.tars import Memory, archives, member, tar_of, tar_of_members


@pytest.mark.slow
@given(archives, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_members_are_those_of_tarfile(files, style):
    data = tar_of(files, style)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(member.name, member.offset_data, member.size) for member in tar]
    found = list(members(Memory(data), "x.tar"))
    assert [(name, offset, length) for name, offset, length, _ in found] == expected
    for (_, content), (_, offset, length, _) in zip(files, found, strict=True):
        assert data[offset : offset + length] == content


@given(archives.filter(bool), st.data())
def test_a_tar_cut_anywhere_is_refused(files, data):
    whole = tar_of(files)
    end = max(
        member.offset + -(-member.length // 512) * 512 for member in members(Memory(whole), "x")
    )
    cut = data.draw(st.integers(0, end + 1023))
    with pytest.raises(DataError, match="cut|not an uncompressed tar"):
        list(members(Memory(whole[:cut]), "x.tar"))


def test_a_tar_in_a_tar_is_read_in_place():
    inner = tar_of([("a.jpg", b"one"), ("b.jpg", b"three")])
    outer = tar_of([("n01440764.tar", inner), ("n01443537.tar", b"")])
    archive = next(iter(members(Memory(outer), "outer.tar")))
    found = list(members(Memory(outer), "outer.tar", archive.offset, archive.length))
    assert [outer[m.offset : m.offset + m.length] for m in found] == [b"one", b"three"]


@pytest.mark.parametrize("program", ["gzip", "bzip2", "xz"])
def test_a_compressed_tar_says_so(tmp_path, program):
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of([("a.jpg", b"one")]))
    packed = subprocess.run([program, "-c", str(path)], capture_output=True, check=True).stdout
    with pytest.raises(DataError, match=r"x\.tar: a compressed tar\. Decompress it first"):
        list(members(Memory(packed), "x.tar"))


def test_what_is_no_tar_is_refused():
    with pytest.raises(DataError, match=r"x\.tar: not an uncompressed tar"):
        list(members(Memory(b"not a tar" * 200), "x.tar"))


def test_the_tar_program_makes_what_is_read(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.jpg").write_bytes(b"one")
    subprocess.run(["tar", "-cf", "x.tar", "train"], cwd=tmp_path, check=True)
    folder, found = members(Memory((tmp_path / "x.tar").read_bytes()), "x.tar")
    assert (folder.name, folder.problem) == ("train", EMPTY)
    assert (found.name, found.length, found.problem) == ("train/a.jpg", 3, "")


def damaged(at, field, kind=tarfile.REGTYPE):
    """A tar whose header of a file has other bytes, and a checksum that is right."""
    block = bytearray(tar_of([("a.jpg", b"one")]))
    block[at : at + len(field)], block[156:157] = field, kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


def scanned(data):
    return members(Memory(data), "x.tar")


def walked(data):
    return list(Walk(Memory(data), "x.tar"))


ONE = tar_of([("a.jpg", b"one")])
ODD_MAP = tar_of_members(
    member("x", b"many", **{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
    style=tarfile.PAX_FORMAT,
)
"""The map of a sparse file is no numbers."""


@pytest.mark.parametrize("read", [scanned, walked])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ONE + ONE, "more follows the end of the tar, behind byte 2048"),
        (ONE[:1024], "the tar is cut"),
        (ONE[: 1024 + 512], "the tar is cut"),
        (b"", "empty file"),
        (damaged(124, b"\xff" * 12), "a member of -1 bytes"),
        (damaged(124, b"\x80" + b"\x7f" * 11), "the tar is cut"),
        (damaged(124, b"77777777777\0"), "the tar is cut"),
        (damaged(124, b"1", tarfile.GNUTYPE_LONGNAME), "not an uncompressed tar"),
        (damaged(482, b"\1", tarfile.GNUTYPE_SPARSE)[:512], "not an uncompressed tar"),
        (damaged(124, b"\x80" + b"\x7f" * 11, tarfile.XHDTYPE), "not an uncompressed tar"),
        (ODD_MAP, "not an uncompressed tar"),
    ],
)
def test_a_tar_is_read_to_its_end_or_refused(read, data, message):
    with pytest.raises(DataError, match=message):
        read(data)
