"""Converts the values that people have in notebooks to those of JSON: NumPy's numbers, decimals, sets, Pydantic models.

Does not import the libraries that they come from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

from ipyllm.text.surrogates import replace_surrogates

__all__ = ["plain_number", "plain_value"]


def plain_value(value: Any) -> Any:
    """Return ``value`` as JSON's values: dict, list, str, int, float, bool or None.

    Lone surrogates in text are replaced by U+FFFD; sets become sorted lists.

    Raises
    ------
    TypeError
        With a phrase: the value, or one in it, has no form in JSON.

    Examples
    --------
    >>> plain_value({50256: Decimal("-100"), "stop": {"b", "a"}})
    {'50256': -100, 'stop': ['a', 'b']}
    >>> plain_value([object])
    Traceback (most recent call last):
        ...
    TypeError: a type has no form in JSON
    """
    try:
        return _plain(value)
    except RecursionError:
        raise TypeError("it contains itself, or is nested too deeply") from None


def plain_number(value: Any) -> Any:
    """Return a number of another library as int or float; anything else as it is.

    >>> plain_number(Decimal("5")), plain_number("5")
    (5, '5')
    """
    if type(value) in _JSON_NUMBERS or isinstance(value, bool):
        return value
    if _is_scalar_of_numpy(value):
        return value.item()
    if isinstance(value, Decimal | Fraction):
        return int(value) if math.isfinite(value) and value == int(value) else float(value)
    return value


_JSON_NUMBERS = (int, float)


def _plain(value: Any) -> Any:  # noqa: PLR0911 - one return for each kind
    if type(value) is str and value.isascii():  # as most is
        return value
    value = plain_number(value)
    match value:
        case None | bool():
            return value
        case Enum():
            return _plain(value.value)
        case str():
            return replace_surrogates(str.__str__(value))
        case int():
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case float():
            raise TypeError(f"{float(value)} is no number in JSON")
        case dict() | Mapping():
            return {_name(name): _plain(item) for name, item in value.items()}
    return _plain_list(value)


def _plain_list(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, AbstractSet):
        return sorted((_plain(item) for item in value), key=lambda item: (str(type(item)), str(item)))
    if isinstance(value, type):
        raise TypeError("a type has no form in JSON")
    if hasattr(value, "model_dump"):  # a Pydantic model, such as the client's ChatCompletionMessage
        return _plain(value.model_dump(mode="json", exclude_none=True))
    if hasattr(value, "tolist"):  # NumPy's arrays, and pandas'
        return _plain(value.tolist())
    raise TypeError(f"{_kind(value)} has no form in JSON")


def _name(name: Any) -> str:
    if type(name) is str and name.isascii():
        return name
    if isinstance(name, str):
        return str(replace_surrogates(name))
    name = plain_number(name)
    if isinstance(name, int | float) and not isinstance(name, bool):
        return str(name)
    raise TypeError(f"{_kind(name)} cannot be a name in JSON")


def _is_scalar_of_numpy(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", None) == 0


def _kind(value: Any) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"
