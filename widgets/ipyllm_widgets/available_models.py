"""Names of the models that a widget offers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ipyllm.errors import bad_request
from ipyllm.registry.available import available_models

__all__ = ["available_models", "validate_model_names"]


def validate_model_names(models: Any) -> list[str]:
    """Return ``models`` as a list of names. A single string is refused: Python would iterate over its letters.

    Raises
    ------
    LLMError
        ``models`` is not a list of strings.

    Examples
    --------
    >>> validate_model_names(("openai/gpt-6-sol", "ollama/qwen3"))
    ['openai/gpt-6-sol', 'ollama/qwen3']
    """
    if isinstance(models, Iterable) and not isinstance(models, str | bytes):
        names = list(models)
        if all(isinstance(name, str) for name in names):
            return names
    example = f"[{models!r}, …]." if isinstance(models, str) else f"['ollama/qwen3', …], not {models!r}."
    raise bad_request(f"models must be a list of names, such as {example}")
