"""A temporary folder goes with its process, even if that was killed."""

import subprocess
import sys
import tempfile

from alexnet.storage import scratch

LEAVE = """
import os, signal
from alexnet.storage import scratch
with scratch.folder() as made:
    (made / "state.pt").write_bytes(b"x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_needs_is_not(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    subprocess.run([sys.executable, "-c", LEAVE], check=False)
    (left,) = tmp_path.iterdir()
    strange = tmp_path / f"{scratch.PREFIX}of-another-release"
    strange.mkdir()
    with scratch.folder() as mine:
        scratch.sweep()
        assert not left.exists()
        assert mine.exists()
        assert strange.exists()
    assert not mine.exists()
