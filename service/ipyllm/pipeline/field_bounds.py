"""Bounds on what is short and little in every model's answer: names, identifiers, the number of its parts.

They are texts in rows, lines and tables, and go back to the server; each part is an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sized

__all__ = ["MAX_NAME", "ImplausibleAnswerError", "ValueCounter", "checked_id", "checked_name", "checked_parts"]

MAX_NAME: Final = 1_000
"""Characters of a name. Servers take functions with 64."""

_MAX_ID: Final = 100_000  # characters; some proxies put signatures of several kilobytes into the ids of calls
_MAX_PARTS: Final = 10_000
_MAX_VALUES: Final = 100_000  # in what is sent back unchanged: an empty list of two bytes takes 64 bytes of memory


class ImplausibleAnswerError(Exception):
    """An answer that no model gives: what the server sent, for a sentence that begins with the model's name."""


def checked_name(name: Any, of: str) -> str:
    """Return the name of a function, empty if there is none; raise ImplausibleAnswerError if it is too long."""
    return _checked(str(name or ""), MAX_NAME, f"name of {of}")


def checked_id(id_: Any, of: str) -> str:
    """Return the id of a function call, empty if there is none; raise ImplausibleAnswerError if it is too long."""
    return _checked(str(id_ or ""), _MAX_ID, f"id of {of}")


def checked_parts(parts: Sized, what: str) -> None:
    """Raise ImplausibleAnswerError if there are too many ``parts``."""
    if len(parts) > _MAX_PARTS:
        raise ImplausibleAnswerError(f"sent {len(parts):,} {what}")


class ValueCounter:
    """Counts the values of JSON that are kept of one answer; ``what`` says which, in an error.

    Examples
    --------
    >>> counter = ValueCounter("values in its details")
    >>> counter.add([[], {"a": 1}])
    >>> counter.add([0] * 100_000)
    Traceback (most recent call last):
        ...
    ipyllm.pipeline.field_bounds.ImplausibleAnswerError: sent 100,005 values in its details
    """

    __slots__ = ("_n", "_what")

    def __init__(self, what: str) -> None:
        self._n = 0
        self._what = what

    def add(self, value: Any) -> None:
        """Count a value with all that it holds; raise ImplausibleAnswerError if there are too many."""
        within = [value]
        while within:
            item = within.pop()
            self._n += 1
            if isinstance(item, list | dict) and item:
                within += item if isinstance(item, list) else item.values()
        if self._n > _MAX_VALUES:
            raise ImplausibleAnswerError(f"sent {self._n:,} {self._what}")


def _checked(text: str, most: int, what: str) -> str:
    if len(text) > most:
        raise ImplausibleAnswerError(f"sent {len(text):,} characters as the {what}")
    return text
