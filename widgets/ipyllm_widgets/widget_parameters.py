"""Validates the model parameters of a widget: they appear in the page and in the saved notebook."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.services.parameters import check_params

__all__ = ["validate_params"]

# Arguments that the widget passes itself; a second value would raise a TypeError.
_RESERVED = frozenset({"name", "system", "tools", "conversation_history", "provenance"})


def validate_params(params: Any, model: str = "") -> dict[str, Any]:
    """Return ``params`` without None values.

    Raises
    ------
    LLMError
        Category ``bad_request``: names the parameter that is wrong.

    Examples
    --------
    >>> validate_params({"temperature": 0, "seed": None})
    {'temperature': 0}
    >>> validate_params({"tools": []})
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: 'tools' is set by the widget and cannot be given as a parameter.
    """
    if not isinstance(params, Mapping):
        raise _bad(f"Parameters must be a mapping, such as {{'temperature': 0}}, not {type(params).__name__}.")
    if "api_key" in params:
        raise _bad(
            "A widget takes no API key: the page and the saved notebook would show it. "
            "Put the key into the settings or the environment."
        )
    for name in params:
        if not isinstance(name, str):
            raise _bad(f"The name of a parameter must be a string, not {name!r}.")
        if name in _RESERVED:
            raise _bad(f"{name!r} is set by the widget and cannot be given as a parameter.")
    checked = check_params(params, model)
    for name, value in checked.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise _bad(f"{name} must be a value that JSON can represent, not {type(value).__name__}.") from None
    return checked


def _bad(message: str) -> LLMError:
    return bad_request(message)
