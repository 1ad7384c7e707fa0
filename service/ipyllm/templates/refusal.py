"""What a template may not use: the exception, and what stands in the place of such a value."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["ADVICE", "Denied", "RefusedError"]

ADVICE = "compute it in a cell and assign the result to a name"


class RefusedError(Exception):
    """A template does what it may not; the text is the rest of a sentence that begins with the template."""


class Denied:
    """Stands for a value that a template may not use: whatever is done with it raises ``RefusedError``.

    So a template can use the other items of a list that holds one.
    """

    __slots__ = ("kind", "phrase")

    def __init__(self, what: str, advice: str = ADVICE, kind: str = "") -> None:
        self.phrase = f"may not use {what}: {advice}."
        self.kind = kind or what  # what it is, in words

    def refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Raise the error."""
        raise RefusedError(self.phrase)

    __str__ = __repr__ = __format__ = __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __call__ = refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = __reduce_ex__ = refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __rmod__ = __pow__ = __rpow__ = refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __neg__ = __pos__ = refuse
