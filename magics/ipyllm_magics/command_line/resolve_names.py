"""Names on a magic's line, as objects of the user's: ``--schema City``, ``--tools weather,shop.price``."""

from __future__ import annotations

import builtins
import types
from typing import TYPE_CHECKING, Any

from ipyllm_magics.command_line.converters import did_you_mean
from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["is_schema", "is_tool", "offers", "own", "schema", "tools"]

_NOT_THEIRS = {"In", "Out", "exit", "quit", "open", "get_ipython"}  # IPython's own
_SAYS_SOMETHING = {"type", "properties", "$ref", "anyOf", "oneOf", "allOf", "enum"}


def own(variables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values that the user made."""
    for name, value in list(variables.items()):  # a copy: another thread may assign meanwhile
        if not name.startswith("_") and name not in _NOT_THEIRS:
            yield name, value


def offers(variables: Mapping[str, Any], fits: Callable[[Any], bool]) -> list[str]:
    """Names of the user's variables whose values fit.

    Examples
    --------
    >>> offers({"n": 1, "add": lambda a, b: a + b, "_x": 2}, lambda value: isinstance(value, int))
    ['n']
    """
    return [name for name, value in own(variables) if fits(value)]


def is_tool(value: Any) -> bool:
    """Whether a model could call it."""
    return callable(value) and not isinstance(value, type | types.ModuleType)


def is_schema(value: Any) -> bool:
    """Whether an answer could be made to fit it: a class, a type such as ``list[City]``, a JSON schema."""
    if isinstance(value, dict):
        return not _SAYS_SOMETHING.isdisjoint(value)
    return isinstance(value, type | types.GenericAlias | types.UnionType) or hasattr(value, "__origin__")


def schema(name: str, variables: Mapping[str, Any]) -> Any:
    """Return what ``--schema`` names: a variable, or a type of Python's own such as ``int``.

    Raises
    ------
    MagicError
        When there is none, with the nearest that there is.

    Examples
    --------
    >>> schema("Ctiy", {"City": type("City", (), {})})
    Traceback (most recent call last):
        ...
    ipyllm_magics.errors.MagicError: There is no variable 'Ctiy' for --schema. Did you mean 'City'?
    """
    if name in variables:
        return variables[name]
    found = getattr(builtins, name, None)
    if isinstance(found, type):
        return found
    known = offers(variables, is_schema)
    hint = did_you_mean(name, known) or (
        f" There are: {', '.join(sorted(known))}." if known else " Define a class, or a JSON schema as a dict."
    )
    raise MagicError(f"There is no variable {name!r} for --schema.{hint}")


def tools(names: Iterable[str], variables: Mapping[str, Any]) -> list[Any]:
    """Return what ``--tools`` names; a variable may also hold a list of them.

    Raises
    ------
    MagicError
        When there is none of that name, with the nearest that there is.
    """
    found: list[Any] = []
    for name in names:
        value = _dotted(name, variables)
        found += value if isinstance(value, list | tuple) else [value]
    return found


def _dotted(name: str, variables: Mapping[str, Any]) -> Any:
    first, *rest = name.split(".")
    if first not in variables:
        known = offers(variables, is_tool)
        hint = did_you_mean(first, known) or (
            f" There are: {', '.join(sorted(known))}." if known else " Define it with def in a cell above."
        )
        raise MagicError(f"There is no function {first!r} for --tools.{hint}")
    value = variables[first]
    for part in rest:
        if not hasattr(value, part):
            near = did_you_mean(part, [known for known in dir(value) if not known.startswith("_")])
            raise MagicError(f"{first!r} has no {part!r} for --tools.{near}")
        value = getattr(value, part)
    return value
