"""Parameters of a model as a widget keeps them: checked, and fit to stand in a page and in a saved notebook."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ipyllm.errors import LLMError
from ipyllm.services.parameters import check_params

__all__ = ["checked_params"]

# What the widget itself hands over beside the parameters; given twice, it would be Python that complains.
_OWN = frozenset({"name", "system", "tools", "conversation_history", "provenance"})


def checked_params(params: Any, model: str = "") -> dict[str, Any]:
    """Return ``params`` without the Nones, checked.

    Raises
    ------
    LLMError
        ``bad_request``, with one sentence that names the parameter.

    Examples
    --------
    >>> checked_params({"temperature": 0, "seed": None})
    {'temperature': 0}
    >>> checked_params({"tools": []})
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: 'tools' is set by the widget and cannot be given as a parameter.
    """
    if not isinstance(params, Mapping):
        raise _bad(f"Parameters have names, like {{'temperature': 0}}; {type(params).__name__} has none.")
    if "api_key" in params:
        raise _bad(
            "A key is no parameter of a widget: the page and the saved notebook would show it. "
            "Put it into the settings or the environment."
        )
    for name in params:
        if not isinstance(name, str):
            raise _bad(f"The name of a parameter is text, not {name!r}.")
        if name in _OWN:
            raise _bad(f"{name!r} is set by the widget and cannot be given as a parameter.")
    checked = check_params(params, model)
    for name, value in checked.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise _bad(f"{name} must be what JSON can hold, not {type(value).__name__}.") from None
    return checked


def _bad(sentence: str) -> LLMError:
    return LLMError(sentence, category="bad_request")
