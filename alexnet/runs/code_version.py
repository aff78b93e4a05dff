"""The git commit of the code that runs."""

import os
import subprocess
from pathlib import Path


def current() -> str:
    """The commit of this checkout, else `GIT_COMMIT` from the environment, else "unknown".

    With changes that are not committed it ends in `-dirty`, as in `git describe`. A Ray job's
    working directory has no `.git`; the one who submits it can pass the commit on.
    """
    try:
        commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("GIT_COMMIT", "unknown")
    return f"{commit}-dirty" if changes else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - fixed arguments
        ["git", *arguments],  # noqa: S607 - the user's git
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    return done.stdout.strip()
