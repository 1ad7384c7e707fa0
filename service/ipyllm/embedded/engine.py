"""Whether llama.cpp is installed, without importing it."""

from __future__ import annotations

import importlib.util

from ipyllm.errors import LLMError

__all__ = ["check_installed", "is_installed"]


def is_installed() -> bool:
    """Return whether ``xllamacpp``, which brings llama.cpp, is installed."""
    return importlib.util.find_spec("xllamacpp") is not None


def check_installed(model: str) -> None:
    """Raise LLMError (``not_found``), which says what to install, if llama.cpp is missing."""
    if not is_installed():
        raise LLMError(
            'Embedded models need xllamacpp: `pip install "ipyllm[local]"`. `%llm_models` lists the models that '
            "you can use without it.",
            category="not_found",
            model=f"local/{model}",
        )
