"""The operations of templates, each checked before it is done: nothing much larger than its values is made.

Python computes ``"%1000000000d" % 1`` and ``"a" * 10**12`` in one step, which no interrupt ends.
"""

from __future__ import annotations

import operator
import re
import sys
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from ipyllm.templates.limits import MAX_DIGITS
from ipyllm.templates.plain_tables import kinds_of, table_size
from ipyllm.templates.readable import readable
from ipyllm.templates.refusal import ADVICE, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.templates.plain_values import PlainValues

__all__ = ["apply", "check_format", "check_index", "check_places", "compare", "growth", "library_of", "printf_size"]

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow,
}  # fmt: skip
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq, "ne": operator.ne, "gt": operator.gt, "gteq": operator.ge, "lt": operator.lt,
    "lteq": operator.le, "in": lambda item, items: item in items, "notin": lambda item, items: item not in items,
}  # fmt: skip
_SMALL = frozenset({int, float, bool})
_SMALL_INT = 1 << 62
_NUMBER = 2 * 7  # what the sizes of two numbers have besides their digits, less one for each
_REPEATED = (str, bytes, list, tuple)
_NUMBERS_AND_TIMES = frozenset("biufcmM")
_PLACEHOLDER = re.compile(r"%(?:\([^)]*\))?[#0\- +]*(\*|\d*)(?:\.(\*|\d*))?")
_LONG_NUMBER = re.compile(r"\d{4}")
_MAX_PLACES = 100  # of a rounded number
_MAX_FORMAT = 100  # characters
_LIBRARIES = frozenset({"pandas", "numpy", "polars"})


def library_of(value: Any) -> str:
    """Return "pandas", "numpy" or "polars" for a table of that library, else an empty text."""
    row = readable(type(value))
    if row is None or not row.title.startswith(("pandas", "NumPy array", "Polars")):
        return ""
    root = row.types[0].partition(".")[0]
    return root if root in _LIBRARIES and "dates" not in row.title else ""


# ---- operators -------------------------------------------------------------------------------------------------


def apply(values: PlainValues, symbol: str, left: Any, right: Any) -> Any:
    """Return ``left symbol right`` for an arithmetic operator."""
    function = _OPERATORS[symbol]
    if type(left) in _SMALL and type(right) in _SMALL and symbol != "**" and _is_small(left) and _is_small(right):
        return function(left, right)
    sizes = values.size(left), values.size(right)
    if library_of(left) or library_of(right):
        _check_tables(left, right, arithmetic=True)
    elif symbol == "%" and isinstance(left, str | bytes):
        values.expect(printf_size(left, right, values))
    elif symbol == "*" and isinstance(left, _REPEATED) | isinstance(right, _REPEATED):
        repeated, times = (left, right) if isinstance(left, _REPEATED) else (right, left)
        values.expect(values.size(repeated) * int(times))
    elif isinstance(left, int | Fraction) or isinstance(right, int | Fraction):
        times = int(abs(cast("int", right))) + 1 if symbol == "**" and isinstance(right, int | Fraction) else 1
        _check_digits((sum(sizes) - _NUMBER) * times)
    else:
        values.expect(sum(sizes))
    return values.result(function(left, right))


def _is_small(number: float) -> bool:
    return -_SMALL_INT < number < _SMALL_INT


def _check_digits(digits: int) -> None:
    if digits > MAX_DIGITS:
        raise RefusedError(f"computes a number of more than {MAX_DIGITS:,} digits: {ADVICE}.")


def compare(values: PlainValues, left: Any, *others: Any) -> Any:
    """Return the comparison ``left op other op other …``; ``others`` are names of operators and values in turn."""
    values.step()
    values.size(left)
    result: Any = True
    for name, right in zip(others[::2], others[1::2], strict=True):
        values.size(right)
        if library_of(left) or library_of(right):
            _check_tables(left, right, arithmetic=False)
        result = _COMPARISONS[name](left, right)
        if len(others) > 2 and not result:  # noqa: PLR2004 - a chain, as in 1 < x < 3
            return result
        left = right
    return values.result(result) if library_of(result) else result


def _check_tables(left: Any, right: Any, *, arithmetic: bool) -> None:
    """Refuse an operation on tables whose result has more cells than they, or which calls methods of their items."""
    libraries = {library for library in (library_of(left), library_of(right)) if library}
    if arithmetic:
        for value in (left, right):
            plain_number = not library_of(value) and not isinstance(value, str | bytes | list | tuple | dict | set)
            if not plain_number and not (library_of(value) and kinds_of(value) <= _NUMBERS_AND_TIMES):
                raise RefusedError(f"may not compute with tables of text or objects: {ADVICE}.")
    if libraries == {"pandas"} and library_of(left) and library_of(right) and not _same_labels(left, right):
        raise RefusedError(f"may not combine tables with different rows or columns: {ADVICE}.")
    if "numpy" in libraries:
        shapes = [getattr(value, "shape", ()) for value in (left, right)]
        cells = 1
        for size in sys.modules["numpy"].broadcast_shapes(*shapes):
            cells *= size
        if cells > max(table_size(left), table_size(right)):
            raise RefusedError(f"may not spread arrays over each other: {ADVICE}.")


def _same_labels(left: Any, right: Any) -> bool:
    axes = [value.axes if hasattr(value, "axes") else [value] for value in (left, right)]
    if len(axes[0]) != len(axes[1]):
        return len(left) == 1 or len(right) == 1
    if not hasattr(left, "axes"):
        return len(left) == len(right)
    return all(one is other or one.equals(other) for one, other in zip(*axes, strict=True))


def check_index(values: PlainValues, table: Any, index: Any) -> None:
    """Refuse ``table[index]`` if it repeats rows so often that the result is too large."""
    owner = getattr(table, "obj", table)  # of .loc and .iloc
    rows = max(1, len(owner) if hasattr(owner, "__len__") else 1)
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, list) or library_of(part):
            repeats = 1 if getattr(getattr(owner, "index", None), "is_unique", True) else rows
            values.expect(len(part) * repeats * max(1, table_size(owner) // rows))


# ---- texts -----------------------------------------------------------------------------------------------------


def printf_size(text: str | bytes, arguments: Any, values: PlainValues) -> int:
    """Return an upper estimate of the length of ``text % arguments``."""
    placeholders = _placeholders(text if isinstance(text, str) else text.decode("latin-1"))
    if "*" in placeholders:
        raise RefusedError(f"may not use '*' as the width of a placeholder: {ADVICE}.")
    times = len(placeholders) if isinstance(arguments, dict) else 1
    return len(text) + sum(int(width or 0) for width in placeholders) + times * values.size(arguments)


@lru_cache(maxsize=64)
def _placeholders(text: str) -> tuple[str, ...]:
    return tuple(part for found in _PLACEHOLDER.finditer(text) for part in (found[1], found[2] or ""))


def check_format(text: Any) -> str:
    """Return a format specification such as ``.2f`` or ``%d.%m.%Y``; refuse a long one and one with a huge width."""
    if not isinstance(text, str) or len(text) > _MAX_FORMAT or _LONG_NUMBER.search(text):
        raise RefusedError("may not use a format of more than 100 characters or a width above 999: shorten it.")
    return text


def check_places(places: Any) -> Any:
    """Return a number of decimal places, or several by column; refuse what takes long to compute."""
    for number in places.values() if isinstance(places, dict) else [places]:
        if isinstance(number, int) and abs(number) > _MAX_PLACES:
            raise RefusedError(f"may not round to more than {_MAX_PLACES} places.")
    return places


def _fill(text: Any, width: int = 80, *_fill: Any) -> int:
    return len(str(text)) + int(width)


def _join(items: Any, separator: Any = "", *_more: Any, d: Any = "", **_named: Any) -> int:
    return (len(items) + 1) * (len(separator or d) + 1)  # the same for a text that joins and for the filter


def _replace(text: Any, old: str, new: str, *_count: Any, **_named: Any) -> int:
    text = str(text)
    return len(text) + (text.count(old) if old else len(text) + 1) * len(new)


def _expand_tabs(text: str, tabsize: int = 8) -> int:
    return len(text) + text.count("\t") * int(tabsize)


def _indent(text: Any, width: Any = 4, *_more: Any, **_named: Any) -> int:
    lines = str(text).count("\n") + 1
    return len(str(text)) + lines * (len(width) if isinstance(width, str) else int(width))


def _batch(items: Any, linecount: int, *_fill: Any, **_named: Any) -> int:
    return len(items) + int(linecount) * 8


growth: dict[str, Callable[..., int]] = {
    "batch": _batch,
    "center": _fill,
    "expandtabs": _expand_tabs,
    "indent": _indent,
    "join": _join,
    "ljust": _fill,
    "replace": _replace,
    "rjust": _fill,
    "zfill": _fill,
}
"""Estimates of the size that methods of texts and filters make, from their arguments."""
