"""Resolves names on a magic's line to the user's objects: ``--schema list[City]``, ``--tools weather,shop.price``."""

from __future__ import annotations

import ast
import builtins
import types
import typing
from typing import TYPE_CHECKING, Any

from ipyllm.text.suggest import suggest
from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["is_schema", "is_tool", "matching_names", "resolve_schema", "resolve_tools"]

_IPYTHON_NAMES = {"In", "Out", "exit", "quit", "open", "get_ipython"}
_SCHEMA_KEYS = {"type", "properties", "$ref", "anyOf", "oneOf", "allOf", "enum"}


def matching_names(variables: Mapping[str, Any], fits: Callable[[Any], bool]) -> list[str]:
    """Return the names of the user's own variables whose values fit.

    Examples
    --------
    >>> matching_names({"n": 1, "add": lambda a, b: a + b, "_x": 2}, lambda value: isinstance(value, int))
    ['n']
    """
    items = list(variables.items())  # a copy: another thread may assign meanwhile
    return [name for name, value in items if name[:1] != "_" and name not in _IPYTHON_NAMES and fits(value)]


def is_tool(value: Any) -> bool:
    """Whether a model could call it."""
    return callable(value) and not isinstance(value, type | types.ModuleType)


def is_schema(value: Any) -> bool:
    """Whether it describes an answer: a class, a type such as ``list[City]``, a JSON schema."""
    if isinstance(value, dict):
        return not _SCHEMA_KEYS.isdisjoint(value)
    return isinstance(value, type | types.GenericAlias | types.UnionType) or hasattr(value, "__origin__")


def resolve_schema(text: str, variables: Mapping[str, Any]) -> Any:
    """Return the value of ``--schema``: a variable, a built-in type such as ``int``, or a type made of these.

    Examples
    --------
    >>> resolve_schema("dict[str, list[int] | None]", {})
    dict[str, list[int] | None]
    >>> resolve_schema("Ctiy", {"City": type("City", (), {})})
    Traceback (most recent call last):
        ...
    ipyllm_magics.errors.MagicError: There is no variable 'Ctiy' for --schema. Did you mean 'City'?
    """
    if text in variables:
        return variables[text]
    try:
        return _type(ast.parse(text.strip(), mode="eval").body, variables)
    except (SyntaxError, ValueError):
        sentence = f"--schema needs a type, such as City or list[City], not {text!r}."
        raise MagicError(sentence) from None
    except (TypeError, AttributeError) as exc:
        raise MagicError(f"--schema {text} is not a type: {exc}.") from None


def _type(node: ast.expr, variables: Mapping[str, Any]) -> Any:
    """Return the type that an expression stands for; nothing is called."""
    match node:
        case ast.Name(name):
            return _named_type(name, variables)
        case ast.Attribute(value, name):
            return getattr(_type(value, variables), name)
        case ast.Subscript(value, arguments):
            return _type(value, variables)[_type(arguments, variables)]
        case ast.BinOp(left, ast.BitOr(), right):
            return _type(left, variables) | _type(right, variables)
        case ast.Tuple(elements):
            return tuple(_type(element, variables) for element in elements)
        case ast.Constant(value):  # None, or a value in Literal[…]
            return value
    raise ValueError(node)


def _named_type(name: str, variables: Mapping[str, Any]) -> Any:
    if name in variables:
        return variables[name]
    for module in (builtins, typing):
        found = getattr(module, name, None)
        if isinstance(found, type) or (module is typing and name in typing.__all__):
            return found
    hint = _hint(name, matching_names(variables, is_schema), "Define a class, or a JSON schema as a dict.")
    raise MagicError(f"There is no variable {name!r} for --schema. {hint}")


def resolve_tools(names: Iterable[str], variables: Mapping[str, Any]) -> list[Any]:
    """Return the values of ``--tools``; a variable may also hold a list of functions."""
    found: list[Any] = []
    for name in names:
        value = _attribute(name, variables)
        found += value if isinstance(value, list | tuple) else [value]
    return found


def _attribute(name: str, variables: Mapping[str, Any]) -> Any:
    first, *rest = name.split(".")
    if first not in variables:
        hint = _hint(first, matching_names(variables, is_tool), "Define it with def in a cell above.")
        raise MagicError(f"There is no function {first!r} for --tools. {hint}")
    value = variables[first]
    for part in rest:
        if not hasattr(value, part):
            public = [known for known in dir(value) if not known.startswith("_")]
            raise MagicError(f"{first!r} has no {part!r} for --tools. {suggest(part, public, otherwise='')}")
        value = getattr(value, part)
    return value


def _hint(name: str, known: list[str], if_none: str) -> str:
    return suggest(name, known) if known else if_none
