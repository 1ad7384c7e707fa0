"""Resolves names on a magic's line to the user's objects: ``--schema City``, ``--tools weather,shop.price``."""

from __future__ import annotations

import builtins
import types
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


def resolve_schema(name: str, variables: Mapping[str, Any]) -> Any:
    """Return the value of ``--schema``: a variable, or a built-in type such as ``int``.

    Examples
    --------
    >>> resolve_schema("Ctiy", {"City": type("City", (), {})})
    Traceback (most recent call last):
        ...
    ipyllm_magics.errors.MagicError: There is no variable 'Ctiy' for --schema. Did you mean 'City'?
    """
    if name in variables:
        return variables[name]
    found = getattr(builtins, name, None)
    if isinstance(found, type):
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
