"""The errors of templates: what one may not do, and what is not defined."""

from __future__ import annotations

import types
from typing import Any

__all__ = ["ADVICE", "FUNCTIONS", "RefusedError", "UndefinedNameError", "describe_kind"]

ADVICE = "compute it in a cell and assign the result to a name"
FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType)


def describe_kind(value: Any) -> str:
    """Return what a value is, in words.

    >>> describe_kind(types), describe_kind(int), describe_kind(len), describe_kind([])
    ('a module', 'a class', 'a function', 'a list')
    """
    kind = type(value)
    name = kind.__name__
    for base, words in ((types.ModuleType, "module"), (type, "class"), (FUNCTIONS, "function")):
        name = words if issubclass(kind, base) else name
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


class RefusedError(Exception):
    """A template does what it may not; the text is the rest of a sentence that begins with the template."""


class UndefinedNameError(Exception):
    """A template uses a name that is not defined.

    ``kind`` is the type of the value that has no attribute or item of this name, empty for a variable; ``near`` is the
    name that was probably meant.
    """

    def __init__(self, name: str, kind: str, near: str | None) -> None:
        super().__init__(name)
        self.name = name
        self.kind = kind
        self.near = near

    def sentence(self, subject: str, advice: str) -> str:
        """Return the sentence of the error: what is missing, and what was probably meant or else ``advice``."""
        meant = f"did you mean {self.near!r}?" if self.near is not None else ""
        if not self.kind:
            return f"{subject} uses {{{{ {self.name} }}}}, which is not defined; {meant or advice}"
        what = f"{subject} uses {self.name!r} of a {self.kind}, which has no such attribute or item"
        return f"{what}; {meant}" if meant else f"{what}."
