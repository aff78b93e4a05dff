"""Everything that a tar of images has is used, rejected or named."""

import io
import subprocess
import tarfile

import pytest

from alexnet.errors import DataError
from alexnet.preparation.account import count
from alexnet.preparation.sources import open_source
from alexnet.preparation.sources.tar_scan import SPARSE, members
from alexnet.storage.store import LISTED, NO_TARGET, ODD_NAME
from tests import foreign_tars
from tests.foreign_tars import foreign_tar, num_members
from tests.tars import Memory, member, tar_of, tar_of_members

HARD, SYMBOLIC = tarfile.LNKTYPE, tarfile.SYMTYPE


def bytes_in(tar, member):
    """As `tarfile` finds them, through links; None if there are none."""
    try:
        found = tar.extractfile(member)
    except (KeyError, RecursionError):
        return None
    return found and found.read()


@pytest.mark.slow
def test_every_member_of_a_thousand_foreign_tars_is_used_rejected_or_named():
    read = 0
    for seed in range(1000):
        store = Memory(foreign_tar(seed))
        try:
            found = open_source(store, "x.tar")
        except DataError as error:
            message = str(error)
            assert message.isprintable()
            continue
        others = count(found.account.passed_over) + count(found.account.not_images)
        assert len(found) + len(found.rejects) + others == num_members(store.data), seed
        read += 1
    assert read > 300


def test_links_in_foreign_tars_have_the_bytes_that_tarfile_finds():
    links = 0
    for seed in range(300):
        data = foreign_tar(seed, foreign_tars.links)
        try:
            found = members(Memory(data), "x.tar")
        except DataError:
            continue
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for ours, theirs in zip(found, tar.getmembers(), strict=True):
                expected = bytes_in(tar, theirs)
                if not ours.problem:  # `tarfile` does not find what a member `/a` is unpacked as
                    assert expected in (None, data[ours.offset :][: ours.length]), seed
                    links += expected is not None and not theirs.isreg()
                elif ours.problem == NO_TARGET:
                    assert expected is None, (seed, ours.name)
    assert links > 100


@pytest.mark.parametrize(
    ("target", "kind", "found"),
    [
        ("cat/a.jpg", HARD, b"first"),
        ("./cat//a.jpg", HARD, b"first"),
        ("cat/later.jpg", HARD, NO_TARGET),
        ("a.jpg", SYMBOLIC, b"second"),
        ("../cat/later.jpg", SYMBOLIC, b"later"),
        ("/cat/a.jpg", SYMBOLIC, NO_TARGET),
        ("x.jpg", SYMBOLIC, NO_TARGET),
        ("../cat", SYMBOLIC, LISTED),
        ("../../cat/a.jpg", SYMBOLIC, NO_TARGET),
    ],
)
def test_a_link_is_what_it_is_when_the_tar_is_unpacked(target, kind, found):
    data = tar_of_members(
        member("cat/a.jpg", b"first"),
        member("cat/x.jpg", kind=kind, target=target),
        member("cat/a.jpg", b"second"),
        member("cat/later.jpg", b"later"),
    )
    link = members(Memory(data), "x.tar")[1]
    assert link.name == "cat/x.jpg"
    assert (link.problem or data[link.offset :][: link.length]) == found


def test_a_tar_of_the_tar_program_with_links_and_holes_is_accounted_for(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/a.jpg").write_bytes(b"one")
    (tmp_path / "cat/hard.jpg").hardlink_to(tmp_path / "cat/a.jpg")
    (tmp_path / "cat/symbolic.jpg").symlink_to("a.jpg")
    (tmp_path / "cat/broken.jpg").symlink_to("b.jpg")
    with (tmp_path / "cat/holes.jpg").open("wb") as file:
        file.truncate(10**7)
    for style in ("gnu", "posix"):
        command = ["tar", "-S", f"--format={style}", "-cf", "x.tar", "cat"]
        subprocess.run(command, cwd=tmp_path, check=True)
        store = Memory((tmp_path / "x.tar").read_bytes())
        found = open_source(store, "x.tar")
        entries = [found.entry(number) for number in range(len(found))]
        assert [entry.name for entry in entries] == [
            f"cat/{name}.jpg" for name in ("a", "hard", "symbolic")
        ]
        assert {store.read("x.tar", entry.offset, entry.length) for entry in entries} == {b"one"}
        assert sorted(found.rejects) == [("cat/broken.jpg", NO_TARGET), ("cat/holes.jpg", SPARSE)]


def test_what_would_be_written_over_or_outside_is_named():
    data = tar_of(
        [("cat/a.jpg", b"1"), ("./cat/a.jpg", b"2"), ("../cat/b.jpg", b"3"), ("/cat/c.jpg", b"4")]
    )
    found = open_source(Memory(data), "x.tar")
    used = [found.entry(number) for number in range(len(found))]
    assert [data[entry.offset : entry.offset + 1] for entry in used] == [b"2", b"4"]
    assert found.rejects == (("../cat/b.jpg", ODD_NAME),)
    assert count(found.account.passed_over) == 1
