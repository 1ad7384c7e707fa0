"""What a template may not use, and what is not defined: the errors, and what stands in the place of such a value."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ADVICE",
    "FUNCTIONS",
    "Denied",
    "Function",
    "RefusedError",
    "UndefinedNameError",
    "describe_kind",
    "name_of",
]

ADVICE = "compute it in a cell and assign the result to a name"


FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType)


def name_of(kind: type) -> str:
    """Return the name of a class."""
    return str(type.__dict__["__name__"].__get__(kind))  # a metaclass may define __getattribute__


def describe_kind(value: Any) -> str:
    """Return what a value is, in words.

    >>> describe_kind(types), describe_kind(int), describe_kind(len), describe_kind([])
    ('a module', 'a class', 'a function', 'a list')
    """
    kind = type(value)
    name = name_of(kind)
    for base, words in ((types.ModuleType, "module"), (type, "class"), (FUNCTIONS, "function")):
        name = words if issubclass(kind, base) else name
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


class RefusedError(Exception):
    """A template does what it may not; the text is the rest of a sentence that begins with the template."""


class Denied:
    """Stands for a value that a template may not use: whatever is done with it raises ``RefusedError``.

    So a template can use the other items of a list that holds one.
    """

    __slots__ = ("phrase",)

    def __init__(self, what: str, advice: str = ADVICE) -> None:
        self.phrase = f"may not use {what}: {advice}."

    def refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Raise the error."""
        raise RefusedError(self.phrase)

    __str__ = __repr__ = __format__ = __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __call__ = refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = __index__ = __reduce_ex__ = refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __rmod__ = __pow__ = __rpow__ = refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __neg__ = __pos__ = refuse


class Function(Denied):
    """A method of a value, or a function that the user registered (``owner`` is None): of no use but to be called."""

    __slots__ = ("call", "name", "owner")

    def __init__(self, name: str, call: Callable[..., Any], owner: Any = None) -> None:
        super().__init__(f"{name!r}, which has to be called, as a value")
        self.name = name
        self.call = call
        self.owner = owner


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
