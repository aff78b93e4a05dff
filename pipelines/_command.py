"""What every command shares: the configuration argument, and errors as one line."""

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path

from alexnet import config_file
from alexnet.adapters.console import complain
from alexnet.config import RunConfig
from alexnet.errors import AlexNetError, ConfigError

ROOT = Path(__file__).resolve().parents[1]
"""Folder of this tree."""

CONFIGS = ROOT / "pipelines" / "configs"

EMBEDDED = CONFIGS / "digits.toml"
"""The run of a command without an argument."""


def parser(name: str, description: str | None, exit_statuses: str) -> argparse.ArgumentParser:
    """The parser of `pipelines/NAME.py`."""
    return argparse.ArgumentParser(
        prog=f"python pipelines/{name}.py",
        description=description,
        epilog=f"Exit status: {exit_statuses}.",
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """Let a command read a run's configuration."""
    parser.add_argument(
        "config",
        type=Path,
        nargs="?",
        default=EMBEDDED,
        help="TOML file of the run (default: the embedded digits)",
    )
    _add_set(parser)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Let a command whose argument is something else name a configuration too."""
    parser.add_argument(
        "--config",
        type=Path,
        default=EMBEDDED,
        metavar="FILE",
        help="TOML file with [registry] and [gate] (default: the embedded digits')",
    )
    _add_set(parser)


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="overrides",
        help="change one value of the file; repeatable",
    )


def config(args: argparse.Namespace) -> RunConfig:
    """The run that the arguments name.

    Raises:
        ConfigError: a key or value breaks a rule.
    """
    return config_file.load(args.config, args.overrides)


def check_max_rejects(share: float) -> None:
    """Hold the value of `--max-rejects` to its rule.

    Raises:
        ConfigError: it breaks it.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"--max-rejects {share}: must be in [0, 1).")


def main(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], int | None],
    argv: list[str] | None,
) -> int:
    """Run a command; print what a user can mend in one line. The exit status, `run`'s if it has."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files are any bytes, in any locale
            stream.reconfigure(errors="backslashreplace")
    args, name = parser.parse_args(argv), Path(parser.prog).stem
    try:
        return run(args) or 0
    except AlexNetError as error:
        from alexnet.dataset.sample_names import printable

        complain(name, printable(str(error)))
        return 2
    except KeyboardInterrupt:
        complain(name, "interrupted")
        return 130
