"""The reference of the configuration: every section and key of a run, and every key of a search."""

import dataclasses
import json
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

from alexnet import config
from alexnet.config import RunConfig
from alexnet.search.space import Search
from infra.documentation.described import UndescribedError, docstrings, shown, summary

UNITS = {
    "_ms": "milliseconds",
    "_s": "seconds",
    "_px": "pixels",
    "_mib": "MiB",
    "_gib": "GiB",
    "_epochs": "epochs",
    "_steps": "updates",
    "_hours": "hours",
    "_degrees": "degrees",
    "_samples": "samples",
}
"""By the end of a key's name."""


def reference(kind: type = RunConfig) -> str:
    """The keys of a run's configuration, the dataclass `kind`, as MyST Markdown.

    Raises:
        UndescribedError: a key has no docstring.
    """
    default, rules = _checked(kind)
    hints = typing.get_type_hints(kind)
    is_section = {name: dataclasses.is_dataclass(hint) for name, hint in hints.items()}
    parts = ["## Outside the sections"]
    top = {name: hint for name, hint in hints.items() if not is_section[name]}
    parts += _keys(kind, "", top, default, rules, _identity)
    for name, hint in hints.items():
        if is_section[name]:
            parts += [f"## \\[{name}\\]", summary(hint)]
            prefix, values = f"{name}.", getattr(default, name)
            parts += _keys(hint, prefix, typing.get_type_hints(hint), values, rules, _identity)
    return "\n\n".join(parts)


def search_reference() -> str:
    """The keys of a search before its space, as MyST Markdown.

    Raises:
        UndescribedError: a key has no docstring.
    """
    default, rules = _checked(Search)
    hints = typing.get_type_hints(Search)
    del hints["space"]
    named = {name.removeprefix("search."): rule for name, rule in rules.items()}
    return "\n\n".join(_keys(Search, "", hints, default, named, lambda _: ""))


def _keys(
    kind: type,
    prefix: str,
    hints: Mapping[str, Any],
    values: Any,
    rules: Mapping[str, str],
    remark: Callable[[str], str],
) -> Iterator[str]:
    texts = docstrings(kind)
    for key, hint in hints.items():
        name = f"{prefix}{key}"
        if key not in texts:
            raise UndescribedError(f"{name}: no docstring below it in {kind.__module__}.")
        yield "\n".join(
            [
                f"```{{confval}} {name}",
                f":type: {_typed(key, hint)}",
                f":default: `{_toml(getattr(values, key))}`",
                "",
                texts[key],
                "",
                " ".join(filter(None, [rules.get(name, ""), remark(name)])),
                "```",
            ]
        )


def _typed(key: str, hint: Any) -> str:
    unit = next((unit for end, unit in UNITS.items() if key.endswith(end)), "")
    return f"{shown(hint)}, {unit}" if unit else shown(hint)


def _identity(name: str) -> str:
    section = name.partition(".")[0]
    if name in config.NOT_IDENTITY or section in config.NOT_IDENTITY:
        return ""
    return "*Decides the weights: another value is another run.*"


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _checked(kind: type) -> tuple[Any, dict[str, str]]:
    """The defaults, and the rule of each key as its error says it."""
    rules: dict[str, str] = {}

    def recorder(_: Any, prefix: str) -> Callable[[str, bool, str], None]:
        def record(key: str, ok: bool, rule: str) -> None:
            assert ok, rule  # noqa: S101 - a default that breaks its rule could not be run with
            rules[f"{prefix}.{key}"] = f"{rule[0].upper()}{rule[1:]}."

        return record

    with mock.patch(f"{kind.__module__}.checker", recorder, create=True):
        return kind(), rules
