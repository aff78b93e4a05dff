"""TOML files of a run: read into its dataclasses with every key and type checked, and written.

`build` makes any frozen dataclass of what TOML has; its messages name the key that is wrong.
"""

import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from alexnet.config import RunConfig, flat
from alexnet.errors import ConfigError

T = typing.TypeVar("T")


def load(path: Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a run from a TOML file, then apply `section.key=value` overrides.

    Raises:
        ConfigError: the file cannot be read or parsed, a key is unknown, a value breaks its rule.
    """
    tree = read(path, "a run")
    for override in overrides:
        _apply(tree, override)
    return parse(tree)


def read(path: Path, what: str) -> dict[str, Any]:
    """A TOML file.

    Args:
        path: of the file.
        what: it is to be, for a message.

    Raises:
        ConfigError: it cannot be read or parsed.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}. Name a TOML file of {what}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def parse(tree: Mapping[str, Any]) -> RunConfig:
    """Build a run from parsed TOML.

    Raises:
        ConfigError: a key is unknown or a value breaks its rule.
    """
    return build(RunConfig, tree)


def changed(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """The run with other values of some keys.

    Args:
        config: the run.
        values: by `section.key`, as TOML has them.

    Raises:
        ConfigError: a value breaks its rule.
    """
    tree = tomllib.loads(to_toml(config))
    for key, value in values.items():
        section, _, last = key.partition(".")
        tree[section][last] = value
    return parse(tree)


def to_toml(config: RunConfig, *, whole: bool = True) -> str:
    """The configuration as TOML that `load` reads back to the same.

    Args:
        config: the run.
        whole: with what is as by default.
    """
    default = {} if whole else flat(RunConfig())
    sections: dict[str, list[str]] = {"": []}
    for name, value in flat(config).items():
        if name not in default or value != default[name]:
            section, _, key = name.rpartition(".")
            sections.setdefault(section, []).append(f"{key} = {_toml_value(value)}")
    parts = [[f"[{name}]", *lines] if name else lines for name, lines in sections.items()]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _toml_value(value: Any) -> str:
    # JSON's strings, numbers, booleans and lists are TOML's too, but for two things: TOML knows no
    # surrogate pairs, so other alphabets are not escaped; and it wants DEL escaped.
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override}: must be section.key=value, e.g. train.epochs=5")
    *sections, last = key.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {override}: {section} is a value, not a section")
    try:
        tree[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        # A bare word is a string: shells eat the quotes that TOML wants.
        tree[last] = text.strip()


def build(kind: type[T], tree: Mapping[str, Any], prefix: str = "") -> T:
    """A dataclass of parsed TOML.

    Args:
        kind: of the dataclass.
        tree: its keys and values.
        prefix: of keys in messages.

    Raises:
        ConfigError: a key is unknown, or a value is of another type or breaks its rule.
    """
    hints = typing.get_type_hints(kind)
    for key in tree:
        if key not in hints:
            raise ConfigError(f"{prefix}{key}: unknown key.{_suggestion(prefix, key, hints)}")
    values = {key: _value(hints[key], value, f"{prefix}{key}") for key, value in tree.items()}
    return kind(**values)


def _suggestion(prefix: str, key: str, hints: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(key, hints, n=1)
    if near:
        return f" Did you mean {prefix}{near[0]}?"
    return f" Known: {', '.join(prefix + name for name in hints)}."


def _value(hint: Any, value: Any, name: str) -> Any:
    """`value` as the annotated type, or a ConfigError that names what was found."""
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} = {value!r}: must be a section with keys")
        return build(typing.cast(type, hint), value, f"{name}.")
    origin = typing.get_origin(hint)
    if origin is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise ConfigError(f"{name} = {value!r}: must be one of {', '.join(choices)}")
        return value
    if origin is types.UnionType:
        one, several = typing.get_args(hint)
        hint = several if isinstance(value, list) else one
        origin = typing.get_origin(hint)
    if origin is tuple:
        return _tuple(hint, value, name)
    return _scalar(hint, value, name)


def _scalar(hint: type, value: Any, name: str) -> Any:
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise ConfigError(
            f"{name} = {value!r}: must be {hint.__name__}, not {type(value).__name__}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} = {value!r}: must be a finite number")
    return value


def _tuple(hint: Any, value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{name} = {value!r}: must be a list, e.g. [1, 2]")
    items = typing.get_args(hint)
    if items[-1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise ConfigError(f"{name} = {value!r}: must have {len(items)} values, not {len(value)}")
    return tuple(_value(item, part, name) for item, part in zip(items, value, strict=True))
