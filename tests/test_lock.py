"""The lock holds for every Python that the project takes."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]


def test_what_is_locked_installs_on_the_oldest_python_that_the_project_takes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = project["requires-python"].removeprefix(">=")
    locked = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert "ray" in locked
    wanted = {name: metadata.metadata(name).get("Requires-Python", "") for name in locked}
    newer = {name for name, pythons in wanted.items() if oldest not in SpecifierSet(pythons)}
    assert not newer
