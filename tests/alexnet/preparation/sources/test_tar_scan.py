"""Members are found where `tarfile` finds them, and no cut passes unseen."""

import io
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.errors import DataError
from alexnet.preparation.sources.tar_scan import members
from tests.tars import Memory, archives, tar_of


@pytest.mark.slow
@given(archives, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_members_are_those_of_tarfile(files, style):
    data = tar_of(files, style)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(member.name, member.offset_data, member.size) for member in tar]
    found = list(members(Memory(data), "x.tar"))
    assert found == expected
    for (_, content), (_, offset, length) in zip(files, found, strict=True):
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
    (found,) = members(Memory((tmp_path / "x.tar").read_bytes()), "x.tar")
    assert (found.name, found.length) == ("train/a.jpg", 3)
