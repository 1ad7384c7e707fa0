"""Reads the list of models that a server returns for ``GET /models``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ListedModel", "parse_model_list"]

# OpenRouter, Together and Groq; vLLM; Mistral; LM Studio. llama.cpp has it in `meta`.
_WINDOW_FIELDS = ("context_length", "max_model_len", "max_context_length", "context_window", "loaded_context_length")
_RETIREMENT_FIELDS = ("shutdown_date", "retires_at", "deprecation")  # OpenAI; Anthropic; Mistral


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model in a server's list: its context window in tokens and its retirement, where the server tells them."""

    name: str
    context_window: int | None = None
    retires: date | None = None


def parse_model_list(answer: Any) -> list[ListedModel] | None:
    """Return the models of an answer; None if it is no list of models.

    OpenAI's form is ``{"data": […]}``; other servers return ``{"models": […]}`` or the bare list.

    Examples
    --------
    >>> parse_model_list({"data": [{"id": "m", "max_model_len": 8192}]})
    [ListedModel(name='m', context_window=8192, retires=None)]
    >>> parse_model_list(["m"]), parse_model_list({"error": "no"})
    ([ListedModel(name='m', context_window=None, retires=None)], None)
    """
    if isinstance(answer, dict):
        answer = next((answer[name] for name in ("data", "models") if isinstance(answer.get(name), list)), None)
    return list(_models(answer)) if isinstance(answer, list) else None


def _models(entries: list[Any]) -> Iterator[ListedModel]:
    for entry in entries:
        if isinstance(entry, str):
            yield ListedModel(entry)
        elif isinstance(entry, dict):
            name = next((entry[field] for field in ("id", "name", "model") if entry.get(field)), None)
            if name is not None:
                yield ListedModel(str(name), _window(entry), _retirement(entry))


def _window(entry: dict[str, Any]) -> int | None:
    meta = entry.get("meta")
    found = [entry.get(field) for field in _WINDOW_FIELDS] + [meta.get("n_ctx") if isinstance(meta, dict) else None]
    windows = [value for value in found if isinstance(value, int) and not isinstance(value, bool) and value > 0]
    return min(windows, default=None)  # one that is loaded with less than the model's own


def _retirement(entry: dict[str, Any]) -> date | None:
    for field in _RETIREMENT_FIELDS:
        value = entry.get(field)
        if isinstance(value, str):
            try:
                return date.fromisoformat(value[:10])
            except ValueError:
                continue
    return None
