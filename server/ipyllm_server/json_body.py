"""Reads the JSON of a request: bounded in depth, without values that JSON does not have, in the shape of a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from ipyllm.text.format import shorten
from ipyllm.text.suggest import closest
from ipyllm_server.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_DEPTH", "as_shape", "parse_json", "read_body"]

MAX_DEPTH: Final = 64
"""Levels of lists and objects: ten times what messages and schemas have."""

_SHOWN_CHARS: Final = 60

Body = TypeVar("Body", bound=BaseModel)


def parse_json(data: bytes | str) -> Any:
    """Return the value of a JSON text.

    Raises
    ------
    Refusal
        400: it is not JSON, is nested too deeply, or has a number that JSON has not.

    Examples
    --------
    >>> parse_json(b'{"model": "fast"}')
    {'model': 'fast'}
    >>> parse_json(b'[NaN]')
    Traceback (most recent call last):
        ...
    ipyllm_server.refusals.Refusal: The body is not JSON: NaN is no number of JSON.
    """
    try:
        text = data if isinstance(data, str) else data.decode()  # `json` would also read UTF-16
        value = _decoder.decode(text)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as exc:  # not JSON, not UTF-8, or a number of thousands of digits
        reason = f"{exc.msg} at character {exc.pos}" if isinstance(exc, json.JSONDecodeError) else _reason(exc)
        raise Refusal(400, f"The body is not JSON: {reason}.", "bad_request") from None
    if text.count("{") + text.count("[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise _too_deep()
    return value


def read_body(data: bytes | str, shape: type[Body]) -> Body:
    """Return the body of a request as ``shape``.

    Raises
    ------
    Refusal
        400, with the field that is wrong.
    """
    return as_shape(parse_json(data), shape)


def as_shape(value: Any, shape: type[Body]) -> Body:
    """Return a value of JSON as ``shape``; raises as :func:`read_body` does."""
    if not isinstance(value, dict):
        raise Refusal(400, f"The body must be a JSON object, not {_kind(value)}.", "bad_request")
    try:
        return shape.model_validate(value)
    except ValidationError as exc:
        sentence, parameter = _explained(exc, [*shape.model_fields])
        raise Refusal(400, sentence, "bad_request", parameter=parameter) from None


def _explained(error: ValidationError, fields: Sequence[str]) -> tuple[str, str | None]:
    """Return a sentence about the first field that is wrong, and its name."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = shorten(".".join(str(part) for part in first["loc"]), _SHOWN_CHARS)
    return _sentence(first, name, fields), name or None


def _sentence(first: Any, name: str, fields: Sequence[str]) -> str:
    if first["type"] == "extra_forbidden":
        if len(first["loc"]) > 1:
            return f"There is no field {name!r}."
        near = closest(name, fields)
        hint = f"did you mean {near!r}?" if near is not None else f"there are: {', '.join(fields)}."
        return f"There is no field {name!r}; {hint}"
    if first["type"] == "missing":
        return f"The field {name!r} is missing."
    if not name:
        return str(first["msg"].removeprefix("Value error, "))
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    return f"The field {name!r} is wrong: {reason[:1].lower()}{reason[1:]}."


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


_decoder: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _reason(exc: ValueError) -> str:
    if isinstance(exc, UnicodeDecodeError):
        return "it is not UTF-8"
    return "a number has too many digits" if "digits" in str(exc) else str(exc)


def _too_deep() -> Refusal:
    return Refusal(400, f"The body is nested too deeply: {MAX_DEPTH} levels are allowed.", "bad_request")


def _depth(value: Any) -> int:
    """Return the levels of lists and objects, without recursion."""
    depth, level = 0, [value]
    while level:
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        depth += any(isinstance(item, dict | list) for item in level)
        level = inner
    return depth


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")
