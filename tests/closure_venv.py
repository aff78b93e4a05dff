"""A virtual environment that has some packages and what they need, and nothing else of this one."""

import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def make(folder, requirements):
    """Make it; its Python. Files are linked, because torch alone has gigabytes."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in _closure(requirements):
        for file in distribution(name).files or ():
            top = file.parts[0]
            link = site / top
            if top != ".." and not link.exists():
                link.symlink_to(Path(distribution(name).locate_file(top)).resolve())
    python = folder / "bin" / "python"
    code = "import alexnet"
    assert subprocess.run([python, "-I", "-c", code], capture_output=True, check=False).returncode
    return python


def _closure(requirements):
    """Names of the packages, and of all that they need here."""
    found, waiting = {}, [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        key = wanted.name.lower().replace("_", "-"), frozenset(wanted.extras)
        if key in found:
            continue
        try:
            installed = distribution(wanted.name)
        except PackageNotFoundError:  # for another platform
            continue
        assert wanted.specifier.contains(installed.version, prereleases=True), wanted
        found[key] = installed.name
        for text in installed.requires or ():
            needed = Requirement(text)
            extras = wanted.extras or {""}
            if not needed.marker or any(needed.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(needed)
    return sorted(set(found.values()))


if __name__ == "__main__":
    print(make(Path(sys.argv[1]), sys.argv[2:]))
