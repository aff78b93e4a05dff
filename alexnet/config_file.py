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
from dataclasses import MISSING
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

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

    Raises:
        ConfigError: it cannot be read or parsed.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
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
    """The run with other values of some `section.key`, as TOML has them.

    Raises:
        ConfigError: a value breaks its rule.
    """
    tree = tomllib.loads(to_toml(config))
    for key, value in values.items():
        section, _, last = key.partition(".")
        tree[section][last] = value
    return parse(tree)


def to_toml(config: RunConfig, *, whole: bool = True) -> str:
    """As TOML that `load` reads back to the same; `whole`: with what is as by default."""
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


def build(kind: type[T], tree: Mapping[str, Any], *, from_json: bool = False) -> T:
    """A dataclass of parsed TOML or JSON.

    Args:
        kind: of the dataclass.
        tree: its keys and values.
        from_json: leave numbers as they are: JSON may write 1.0 as 1, and losses may be NaN.

    Raises:
        ConfigError: a key is unknown, or a value is of another type or breaks its rule.
    """
    return typing.cast(T, _Builder(from_json).section(kind, tree, ""))


@lru_cache
def _hints(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _suggestion(prefix: str, key: str, hints: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(key, hints, n=1)
    if near:
        return f" Did you mean {prefix}{near[0]}?"
    return f" Known: {', '.join(prefix + name for name in hints)}."


class _Builder(NamedTuple):
    """Makes values of annotated types, or a ConfigError that names what was found."""

    from_json: bool

    def section(self, kind: Any, tree: Mapping[str, Any], prefix: str) -> Any:
        hints = _hints(kind)
        for key in tree:
            if key not in hints:
                raise ConfigError(f"{prefix}{key}: unknown key.{_suggestion(prefix, key, hints)}")
        for each in dataclasses.fields(kind):
            if each.name not in tree and each.default is each.default_factory is MISSING:
                raise ConfigError(f"{prefix}{each.name}: missing")
        made = {key: self.value(hints[key], tree[key], f"{prefix}{key}") for key in tree}
        return kind(**made)

    def value(self, hint: Any, value: Any, name: str) -> Any:
        origin = typing.get_origin(hint)
        if origin is types.UnionType:
            kinds = [each for each in typing.get_args(hint) if each is not types.NoneType]
            if value is None and len(kinds) < len(typing.get_args(hint)):
                return None
            return self.value(kinds[-1] if isinstance(value, list) else kinds[0], value, name)
        if origin is Literal and value not in typing.get_args(hint):
            choices = ", ".join(typing.get_args(hint))
            raise ConfigError(f"{name} = {value!r}: must be one of {choices}")
        if origin in (Mapping, dict) or dataclasses.is_dataclass(hint):
            return self.mapping(hint, value, name)
        if origin is tuple or hasattr(hint, "_fields"):
            return self.items(hint, value, name)
        return value if hint is Any or origin is Literal else self.scalar(hint, value, name)

    def mapping(self, hint: Any, value: Any, name: str) -> Any:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} = {value!r}: must be a section with keys")
        if dataclasses.is_dataclass(hint):
            return self.section(hint, value, f"{name}.")
        kind = typing.get_args(hint)[1]
        return {key: self.value(kind, item, f"{name}.{key}") for key, item in value.items()}

    def items(self, hint: Any, value: Any, name: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ConfigError(f"{name} = {value!r}: must be a list, e.g. [1, 2]")
        fields: Mapping[str, Any] = _hints(hint) if hasattr(hint, "_fields") else {}
        kinds = tuple(fields.values()) or typing.get_args(hint)
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(value)
        if self.from_json and not fields and [*map(type, value)] == [*kinds]:
            return tuple(value)  # most of what long lists hold
        optional = len(hint._field_defaults) if fields else 0
        if not len(kinds) - optional <= len(value) <= len(kinds):
            raise ConfigError(
                f"{name} = {value!r}: must have {len(kinds)} values, not {len(value)}"
            )
        if fields:
            names = [f"{name}.{field}" for field in fields]
        elif self.from_json:
            names = [f"{name}[{number}]" for number in range(len(value))]
        else:
            names = [name] * len(value)
        made = [self.value(*each) for each in zip(kinds, value, names, strict=False)]
        return typing.cast(tuple[Any, ...], hint(*made) if fields else tuple(made))

    def scalar(self, hint: type, value: Any, name: str) -> Any:
        if hint is float and type(value) is int:
            return value if self.from_json else float(value)
        if type(value) is not hint:
            raise ConfigError(
                f"{name} = {value!r}: must be {hint.__name__}, not {type(value).__name__}"
            )
        if isinstance(value, float) and not self.from_json and not math.isfinite(value):
            raise ConfigError(f"{name} = {value!r}: must be a finite number")
        return value
