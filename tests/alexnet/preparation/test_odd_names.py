"""Names in any bytes go from a folder to its shards, indexes and report, and are shown escaped."""

import html
import json
import os
import subprocess
import sys

import pytest

from alexnet.adapters.object_store import open_store
from alexnet.dataset.manifest import read_index
from alexnet.dataset.sample_names import sample_name
from tests.commands import ROOT
from tests.preparing import prepare
from tests.tiny_data import pictures

CLASSES = {
    b"caf\xe9": r"caf\xe9",
    "na\u00efve".encode(): "na\u00efve",
    b"two\nlines": r"two\nlines",
    b"\"'<b>&\\": "\"'<b>&\\",
}
FILES = [b"\xe9.jpg", b"a\nb.jpg", b"\x1b[31m.jpg", b"c\\d.jpg", b" .jpg", b"-.jpg"]
FILES.append(b"x" * 251 + b".jpg")


def fill(folder, splits):
    data = pictures(len(splits) * len(FILES) * len(CLASSES))
    for split in splits:
        for label in CLASSES:
            place = folder / split / os.fsdecode(label)
            place.mkdir(parents=True)
            for name in FILES:
                (place / os.fsdecode(name)).write_bytes(next(data))
    return folder


def test_names_in_any_bytes_become_a_data_set_and_are_shown_in_its_report(tmp_path):
    source = fill(tmp_path / os.fsdecode(b"sour\xe7e"), ["train", "val"])
    first, *_ = (source / "train" / os.fsdecode(b"caf\xe9")).iterdir()
    first.with_name(os.fsdecode(b"broken\xe9\n.jpg")).write_bytes(b"")
    first.with_name(os.fsdecode(b"again\xe9\n.jpg")).write_bytes(first.read_bytes())
    made = prepare(source, tmp_path / os.fsdecode(b"s\xe9t"), max_rejects=0.1)
    assert made.account == "used 57, rejected 1, passed over 0, not images 0"
    assert made.manifest.name == r"s\xe9t"
    assert made.manifest.classes == tuple(sorted(CLASSES.values()))
    page = tmp_path / os.fsdecode(b"s\xe9t") / made.report
    tree = json.loads(page.with_suffix(".json").read_text())
    assert [each["name"] for each in tree["rejects"]] == [r"train/caf\xe9/broken\xe9\n.jpg"]
    assert tree["duplicates"]["groups"][0][0] == r"train/caf\xe9/again\xe9\n.jpg"
    for name in (r"train/caf\xe9/broken\xe9\n.jpg", *CLASSES.values()):
        assert html.escape(name) in html.escape(html.unescape(page.read_text()))


def test_a_sample_of_any_name_is_found_again(tmp_path):
    made = prepare(fill(tmp_path / "source", ["train", "val"]), tmp_path / "set")
    store, (shard,) = open_store(str(tmp_path / "set")), made.manifest.split("val")
    rows = range(len(read_index(store, shard).samples))
    names = [sample_name(store, shard, row) for row in rows]
    assert len({name for name in names if name.isprintable()}) == len(FILES) * len(CLASSES)


def test_names_in_any_bytes_are_split_by_their_names(tmp_path):
    made = prepare(fill(tmp_path / "source", [""]), tmp_path / "set", val_share=0.3).manifest
    assert made.num_samples("train") + made.num_samples("val") == len(FILES) * len(CLASSES)


SAYS = """
from alexnet.errors import DataError
from pipelines import _command
def run(args):
    print("ca\\udce9 \\u4e2d")
    raise DataError("ca\\udce9 \\u4e2d\\n.jpg: is odd.")
raise SystemExit(_command.main(_command.parser("say", "", ""), run, []))
"""


@pytest.mark.parametrize(
    "env", [{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"LC_ALL": "C.UTF-8"}]
)
def test_a_command_prints_any_name_in_any_locale(env):
    env = {**os.environ, **env}
    found = subprocess.run(
        [sys.executable, "-c", SAYS], cwd=ROOT, env=env, capture_output=True, check=False
    )
    assert found.returncode == 2, found.stderr
    assert found.stderr.count(b"\n") == 1
    assert found.stderr.startswith(b"say: ca")
    assert found.stderr.endswith(b"\\n.jpg: is odd.\n")
    assert found.stdout.startswith(b"ca\\udce9")
