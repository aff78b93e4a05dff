"""Do what docs/tutorial.md says, in a fresh clone: every command, in order, from installing on.

In the page, what is in blocks of `sh` is run and what is in blocks of `text` must be among the
output of the block before; numbers may differ, and `...` stands for anything. A comment above
a block says what else happens: `<!-- exit status 3 -->`, `<!-- Ctrl-C after epoch=3 -->`, or
`<!-- another terminal, until http://... answers -->`.
"""

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra import programs
from infra.processes import BIN, HOST, Process, free_ports, running
from infra.programs import ROOT, NotShownError
from infra.servers import answers

PAGE = ROOT / "docs" / "tutorial.md"

STEP_TIMEOUT_S = 900.0
"""The first step installs PyTorch."""

ANYTHING = "..."


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A block of commands."""

    line: int
    """Of the page."""
    commands: str
    shown: tuple[str, ...] = ()
    """Lines of output."""
    status: int = 0
    """Exit status of the last of the commands that fails; 0 if none does."""
    ctrl_c_after: str = ""
    """Output after which it is interrupted."""
    until: str = ""
    """Address of a server; the step ends when that answers."""


def steps(page: str) -> list[Step]:
    """What a page has its reader do.

    Raises:
        NotShownError: a comment or a block of output belongs to no command.
    """
    found: list[Step] = []
    for block in re.finditer(r"(?:<!-- ([^>]*) -->\n)?```(\w*)\n(.*?)```", page, re.DOTALL):
        comment, language, text = block.groups()
        line = page.count("\n", 0, block.start()) + 1
        if language == "sh":
            found.append(_step(line, text, comment or ""))
        elif language == "text" and found and not found[-1].shown:
            found[-1] = _showing(found[-1], text)
        else:
            raise NotShownError(f"line {line}: a block that is neither commands nor their output.")
    return found


def _step(line: int, commands: str, comment: str) -> Step:
    status = re.fullmatch(r"exit status (\d+)", comment)
    ctrl_c = re.fullmatch(r"Ctrl-C after (.*)", comment)
    until = re.fullmatch(r"another terminal, until (\S+) answers", comment)
    if comment and not (status or ctrl_c or until):
        raise NotShownError(f"line {line}: {comment!r} is not a comment that means something.")
    return Step(
        line=line,
        commands=commands,
        status=int(status[1]) if status else 128 + signal.SIGINT if ctrl_c else 0,
        ctrl_c_after=ctrl_c[1] if ctrl_c else "",
        until=until[1] if until else "",
    )


def _showing(step: Step, text: str) -> Step:
    lines = tuple(line for line in text.splitlines() if line.strip() not in ("", ANYTHING))
    return dataclasses.replace(step, shown=lines)


def missing(shown: tuple[str, ...], output: str) -> str | None:
    """The first line that a page shows and that is not in the output, in that order."""
    lines = iter(output.splitlines())
    for expected in shown:
        pattern = re.compile(_pattern(expected))
        if not any(pattern.fullmatch(_plain(line)) for line in lines):
            return expected
    return None


def _pattern(shown: str) -> str:
    parts = _plain(shown).split(ANYTHING)
    return ".*".join(re.escape(part) for part in parts)


def _plain(line: str) -> str:
    """The line without what differs from one machine or day to another."""
    line = re.sub(r"\b[0-9a-f]{8,}\b|(?:(?<!\S)[+-])?\d+(?:\.\d+)?(?:e-\d+)?", "0", line)
    return re.sub(r"\s+", " ", line).strip()


def clone(folder: Path) -> Path:
    """A clone of this repository as it is now, with what is not committed yet."""
    made = folder / "alexnet"
    listed = _git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # not if it was deleted
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, made / name)
    _git(made, "init", "--quiet")
    _git(made, "add", "--all")
    who = ("-c", "user.name=tutorial", "-c", "user.email=tutorial@localhost")
    _git(made, *who, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", "As it is")
    return made


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607 - the user's git
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def link_environment(made: Path) -> None:
    """Give a clone the packages that are installed here, so that `make` installs nothing."""
    place = made / ".venv"
    venv.create(place, symlinks=True)
    (site,) = place.glob("lib/python*/site-packages")
    packages = [each for each in sys.path if each.endswith("site-packages")]
    (site / "linked.pth").write_text("\n".join([str(made), *packages]) + "\n")
    for program in BIN.iterdir():
        link = place / "bin" / program.name
        if not link.exists():
            link.symlink_to(program)
    (place / "train").touch()


def environment(home: Path, port: int) -> dict[str, str]:
    """That of somebody who has just logged in; MLflow's page is on a port that is free."""
    foreign = ("AWS_", "MLFLOW_", "RAY_", "PYTHON", "VIRTUAL_ENV")
    env = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    path = [part for part in env.get("PATH", os.defpath).split(os.pathsep) if Path(part) != BIN]
    return env | {
        "HOME": str(home),
        "PATH": os.pathsep.join(path),
        "PYTHON": sys._base_executable,  # type: ignore[attr-defined]
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_PORT": str(port),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def perform(page: str, made: Path, folder: Path) -> Iterator[tuple[Step, float]]:
    """Do each step of a page, and say which was done in how many seconds.

    Raises:
        NotShownError: something is not as the page says.
        ServerError: a server of the page did not start.
    """
    (port,) = free_ports(1)
    env = environment(folder, port)
    for number, step in enumerate(steps(page), 1):
        began = time.monotonic()
        name = f"step-{number:02d}"
        script = folder / f"{name}.sh"
        script.write_text(_script(step, made, folder / "environment"))
        with running(name, ["bash", str(script)], folder, env) as terminal:
            if step.until:
                url = re.sub(r"//[^/]*", f"//{HOST}:{port}", step.until)
                terminal.wait_until(lambda url=url: answers(url))  # type: ignore[misc]
            else:
                _watch(step, terminal)
        yield step, time.monotonic() - began


def _script(step: Step, made: Path, kept: Path) -> str:
    """The step in a shell of its own, with the variables that the one before left."""
    return f"""[ -e {kept} ] && . {kept}
cd {made}
failed=0
trap 'failed=$?' ERR
{step.commands}
trap - ERR
export -p > {kept}
exit $failed
"""


def _watch(step: Step, terminal: Process) -> None:
    """Wait until a step's commands have ended, and look at what they said."""
    if step.ctrl_c_after:
        terminal.wait_until(lambda: step.ctrl_c_after in terminal.log.read_text())
        os.killpg(terminal.process.pid, signal.SIGINT)  # as a terminal does
    try:
        status = terminal.process.wait(STEP_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise NotShownError(
            f"line {step.line}: not done in {STEP_TIMEOUT_S:g} s:\n{step.commands}"
        ) from error
    status = status if status >= 0 else 128 - status  # as a shell says that a signal ended it
    output = terminal.log.read_text()
    if status != step.status:
        raise NotShownError(
            f"line {step.line}: exit status {status}, not {step.status}, of\n{step.commands}\n"
            f"{output}"
        )
    line = missing(step.shown, output)
    if line is not None:
        raise NotShownError(f"line {step.line}: the page shows\n{line}\nand there was\n{output}")


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = programs.parser(
        "documentation.tutorial",
        "Do what docs/tutorial.md says, in a fresh clone: every command, in order.",
        "0 all is as the page says, 1 it is not, 2 an error to act on, 130 stopped",
    )
    parser.add_argument(
        "--linked", action="store_true", help="use the packages that are here, and install nothing"
    )
    args = parser.parse_args(argv)
    return programs.exit_status("tutorial", lambda: _run(linked=args.linked))


def _run(*, linked: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="tutorial-") as temporary:
        folder = Path(temporary)
        made = clone(folder)
        if linked:
            link_environment(made)
        for step, seconds in perform(PAGE.read_text(), made, folder):
            print(f"{seconds:4.0f} s  {step.commands.splitlines()[0]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
