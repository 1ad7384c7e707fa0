"""Checks of values that users pass, shared by several functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipyllm.errors import bad_request
from ipyllm.plain_values import plain_number

__all__ = ["as_text", "refuse_table", "tags_as_text", "validate_int", "validate_usd"]

_TABLES = {"DataFrame", "LazyFrame", "Series"}


def validate_int(name: str, value: Any, least: int | None = None) -> int:
    """Return ``value`` as int if it is a whole number, ``least`` or more; else raise ``bad_request``."""
    value = plain_number(value)
    if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
        bound = "" if least is None else f", {least} or more"
        raise bad_request(f"{name} must be a whole number{bound}, not {value!r}.")
    return value


def as_text(name: str, value: Any) -> str:
    """Return ``str(value)``; raise ``bad_request`` if that is an error of the value's own.

    Examples
    --------
    >>> as_text("tags", 7)
    '7'
    """
    if isinstance(value, str):
        return str.__str__(value)  # a subclass may have another
    try:
        return str(value)
    except Exception as exc:  # noqa: BLE001 - whatever it is
        raise bad_request(
            f"{name} must have a text, but str() of a {type(value).__name__} raises {type(exc).__name__}."
        ) from None


def tags_as_text(tags: Any) -> dict[str, str]:
    """Return tags as text; raise ``bad_request`` if they are no mapping, or have no text."""
    if tags is None:
        return {}
    if not isinstance(tags, Mapping):
        raise bad_request(f"tags must be a dict such as {{'data': '2026-11'}}, not a {type(tags).__name__}.")
    return {as_text("A tag", name): as_text("A tag", value) for name, value in tags.items()}


def validate_usd(value: Any) -> float | None:
    """Return ``value`` if it is a valid ``max_cost_usd``: None, or 0 or more; else raise ``bad_request``."""
    value = plain_number(value)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
        raise bad_request(f"max_cost_usd must be a number of US dollars, 0 or more, not {value!r}.")
    return value


def refuse_table(prompt: Any) -> None:
    """Raise ``bad_request`` if a table was given where one prompt is expected.

    Examples
    --------
    >>> import pandas as pd
    >>> refuse_table(pd.Series(["Hello", "Good morning"]))
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: A Series is not one prompt: ask about each row with llm_map(series, "… {{ value }}").
    """
    for kind in type(prompt).__mro__:
        if kind.__name__ in _TABLES and kind.__module__.partition(".")[0] in {"pandas", "polars"}:
            call = 'series, "… {{ value }}"' if kind.__name__ == "Series" else 'df, "… {{ column }}"'
            raise bad_request(f"A {kind.__name__} is not one prompt: ask about each row with llm_map({call}).")
