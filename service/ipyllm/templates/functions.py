"""Functions that templates may call: those that the user registered."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, TypeVar

from ipyllm.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["registered", "registered_as", "template_function"]

_Function = TypeVar("_Function", bound="Callable[..., Any]")
_registered: dict[str, Callable[..., Any]] = {}


def template_function(function: _Function) -> _Function:
    """Let templates call ``function`` by its name, in cells and experiments. Returns it, so it is a decorator too.

    It gets plain values: text, numbers, lists, dicts, tables; of a dataclass, a record with the same fields. What it
    returns is used as a variable would be, and what it raises ends the template. It may do whatever Python can:
    whoever writes a prompt can call it with any arguments.

    Parameters
    ----------
    function : function
        A function with a name: one of ``def``, or of a module. Registered again, it replaces the one before.

    Raises
    ------
    LLMError
        ``bad_request``: it is no function, or its name cannot be used in a template.

    Examples
    --------
    >>> from ipyllm import template_function
    >>> from ipyllm.templates.sandbox import SandboxedTemplate
    >>> @template_function
    ... def initials(name):
    ...     return "".join(word[0] for word in name.split())
    >>> SandboxedTemplate("{{ initials(author) }}").render({"author": "Ada Lovelace"})
    'AL'
    """
    if not isinstance(function, types.FunctionType | types.BuiltinFunctionType):
        raise bad_request(
            f"template_function takes a function, not a {type(function).__name__}: write one with def that calls it."
        )
    name = function.__name__
    if not name.isidentifier() or name.startswith("_"):
        raise bad_request(
            f"A template cannot call a function named {name!r}: give it a name without a leading underscore, with def."
        )
    _registered[name] = function
    return function


def registered(name: str) -> Callable[..., Any] | None:
    """Return the function of this name; None if there is none."""
    return _registered.get(name)


def registered_as(function: object) -> str | None:
    """Return the name under which ``function`` is registered; None if it is not."""
    return next((name for name, known in _registered.items() if known is function), None)
