"""The reference of the command lines, from the parsers of the commands themselves."""

import argparse
import importlib
import os
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from infra.documentation.described import UndescribedError
from infra.programs import ROOT

EXIT_STATUSES = "Exit status: "
"""Begins the epilog of a command; `0 done, 2 an error to act on, 3 or 4 refused.` may follow."""

COLUMNS = 90
"""Width of the usage: a line of code on the site."""


class _ParserFoundError(Exception):
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def reference() -> str:
    """All commands, as MyST Markdown.

    Raises:
        UndescribedError: an option has no help, or a command does not tell its exit statuses.
    """
    parts = ["## make", _targets((ROOT / "Makefile").read_text())]
    for module in modules():
        parts += described(parser_of(importlib.import_module(module).main))
    return "\n\n".join(parts)


def modules() -> list[str]:
    """Names of the modules that are commands: those of pipelines/ first, then those of infra/."""
    files = [*sorted(ROOT.glob("pipelines/*.py")), *sorted(ROOT.glob("infra/**/*.py"))]
    return [
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in files
        if '\nif __name__ == "__main__":\n' in file.read_text()
    ]


def parser_of(main: Callable[[list[str]], object]) -> argparse.ArgumentParser:
    """The parser that a command makes; the command does nothing else.

    Raises:
        UndescribedError: it makes none.
    """

    def give(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _ParserFoundError(parser)

    try:
        with mock.patch.object(argparse.ArgumentParser, "parse_known_args", give):
            main(["--help"])
    except _ParserFoundError as found:
        return found.parser
    raise UndescribedError(f"{main.__module__}.main: parses no arguments.")


def described(parser: argparse.ArgumentParser) -> Iterator[str]:
    """One command.

    Raises:
        UndescribedError: an option has no help, or the command does not tell its exit statuses.
    """
    name = re.sub(r"^python (-m |pipelines/)", "", parser.prog)
    yield f"## {name}"
    yield (parser.description or "").strip()
    yield f"```text\n{_usage(parser)}\n```"
    yield f"```{{program}} {name}\n```"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from described(each)
        elif not isinstance(action, argparse._HelpAction):
            yield _option(parser, action)
    yield _exit_statuses(parser)


def _usage(parser: argparse.ArgumentParser) -> str:
    with mock.patch.dict(os.environ, COLUMNS=str(COLUMNS)):
        text = parser.format_usage()
    label = "usage: "
    return textwrap.dedent(text.replace(label, " " * len(label), 1)).strip()


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    shown = parser._get_formatter()._format_action_invocation(action)
    text = (action.help or "").replace("(%(default)s)", "")  # it has a line of its own
    text = (text % {"default": _default(action)}).strip()
    if text in ("", _default(action)):
        raise UndescribedError(f"{parser.prog} {shown}: no help.")
    lines = [f"```{{option}} {shown}", f"{text[0].upper()}{text[1:].rstrip('.')}."]
    if action.default not in (None, False, "", [], argparse.SUPPRESS):
        lines += ["", f"Default: `{_default(action)}`"]
    return "\n".join([*lines, "```"])


def _default(action: argparse.Action) -> str:
    """The default as text, a path from the top of the repository."""
    value = action.default
    if isinstance(value, Path) and value.is_relative_to(ROOT):
        value = value.relative_to(ROOT)
    return str(value)


def _exit_statuses(parser: argparse.ArgumentParser) -> str:
    text = " ".join((parser.epilog or "").split()).partition(EXIT_STATUSES)[2].rstrip(".")
    rows = [
        re.fullmatch(r"(\d+(?: or \d+)*) (.+)", each) for each in re.split(r"[,;] (?=\d)", text)
    ]
    found = [(row[1], row[2]) for row in rows if row]
    if len(found) != len(rows):
        raise UndescribedError(
            f"{parser.prog}: its epilog has no '{EXIT_STATUSES}0 done, 2 an error to act on.'"
        )
    return _table("exit status", found)


def _targets(makefile: str) -> str:
    found = re.findall(r"^([a-z]+):.*?## *(.*)$", makefile, re.M)
    return _table("target", [(f"`make {name}`", text) for name, text in found])


def _table(heading: str, rows: list[tuple[str, str]]) -> str:
    return "\n".join([f"| {heading} | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])
