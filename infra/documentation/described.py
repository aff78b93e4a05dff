"""Dataclasses and named tuples as they are described in the code: fields, types, docstrings.

Python keeps no docstrings of attributes, so they are read from the source.
"""

import ast
import builtins
import collections.abc
import inspect
import json
import textwrap
import types
import typing
from itertools import pairwise
from typing import Any

NAMES: dict[Any, str] = {str: "string", types.NoneType: "null", Any: "anything"}
"""Of types that are called otherwise in Python."""


class UndescribedError(Exception):
    """Something that belongs in the reference says nothing of itself."""


def docstrings(kind: type) -> dict[str, str]:
    """Field -> the string below it, in one line; fields without one are left out."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    body = typing.cast(ast.ClassDef, definition).body
    found = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = _string(below)
            if text:
                found[field.target.id] = " ".join(text.split())
    return found


def summary(kind: type) -> str:
    """A class's docstring in one line; empty if it has only the one that Python makes up."""
    text = inspect.getdoc(kind) or ""
    return "" if text.startswith(f"{kind.__name__}(") else " ".join(text.split())


def shown(hint: Any) -> str:
    """A type as JSON and TOML know it, in words."""
    items = typing.get_args(hint)
    match typing.get_origin(hint):
        case typing.Literal:
            return "one of " + ", ".join(f"`{json.dumps(item)}`" for item in items)
        case types.UnionType:
            return " or ".join(shown(item) for item in items)
        case builtins.tuple:
            return _tuple(items)
        case builtins.dict | collections.abc.Mapping:
            return f"map of {shown(items[0])} to {shown(items[1])}"
    return NAMES.get(hint) or str(getattr(hint, "__name__", hint))


def _tuple(items: tuple[Any, ...]) -> str:
    if items[-1] is Ellipsis:
        return f"list of {shown(items[0])}"
    return f"[{', '.join(shown(item) for item in items)}]"


def _string(node: ast.stmt) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
    return ""
