"""Maps a server's error to an :class:`LLMError`: its category, and a sentence that says what to do.

Pure: it reads status codes, error codes and words, and does not import the HTTP client.
"""

from __future__ import annotations

import email.utils
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.text.format import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.response import Category

__all__ = ["ServerFault", "parse_error", "retry_after_s", "to_llm_error"]

_MAX_DETAIL = 300

_BY_CODE: dict[str, Category] = {
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "insufficient_balance": "quota",
    "rate_limit_exceeded": "rate_limit",
    "invalid_api_key": "authentication",
    "invalid_authentication": "authentication",
    "authentication_error": "authentication",
    "model_not_found": "not_found",
    "context_length_exceeded": "context_length",
    "exceed_context_size_error": "context_length",  # llama.cpp
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
}
_BY_STATUS: dict[int, Category] = {
    400: "bad_request",
    401: "authentication",
    402: "quota",
    403: "authentication",
    404: "not_found",
    408: "timeout",
    413: "context_length",
    422: "bad_request",
    429: "rate_limit",
    504: "timeout",
}
_CONTEXT_WORDS = ("context length", "context size", "context window", "maximum context", "too many tokens")
_FILTER_WORDS = ("content filter", "content management policy", "content_filter")
_QUOTA_WORDS = ("exceeded your current quota", "insufficient balance", "insufficient_quota")

# What happened, and what the user can do about it.
_SENTENCES: dict[Category, tuple[str, str]] = {
    "rate_limit": ("refused the request: too many requests", "wait a little, or send fewer calls at once"),
    "quota": ("refused the request: no quota left", "the account has no credit left: check its billing page"),
    "authentication": ("refused the key", "check the key and its permissions"),
    "bad_request": ("refused the request", "check the parameters"),
    "not_found": ("was not found", "check the model's name, `%llm_models` lists what can be used"),
    "context_length": (
        "refused the request: the conversation is longer than its context window",
        "shorten the prompt, or begin a new conversation",
    ),
    "content_filter": ("refused the request: its content filter blocked it", "rephrase the prompt"),
    "api_error": ("failed", "this is the server's fault, try again later"),
    "timeout": ("took too long", "try again, or allow more time with timeout=…"),
}


@dataclass(frozen=True, slots=True)
class ServerFault:
    """The error that a server returned, before it is mapped."""

    status_code: int | None = None
    code: str | None = None
    message: str = ""
    retry_after: float | None = None


def parse_error(body: Any, status_code: int | None = None, headers: Mapping[str, str] | None = None) -> ServerFault:
    """Parse an error body: OpenAI's form, a flat object, a bare string, or HTML."""
    error = body.get("error", body) if isinstance(body, dict) else body
    code: Any = None
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or error.get("error") or ""
        code = error.get("code")
        if not isinstance(code, str) or code not in _BY_CODE:
            code = error.get("type") if error.get("type") in _BY_CODE else code
        if status_code is None and isinstance(error.get("code"), int):
            status_code = error["code"]
    else:
        message = error or ""
    message = str(message).strip()
    if message.lstrip().startswith("<"):
        message = "it returned a web page, as a proxy or a wrong address does"
    return ServerFault(status_code, str(code) if code else None, message, retry_after_s(headers or {}))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``Retry-After`` asks to wait, in either of its forms (RFC 9110 §10.2.3)."""
    milliseconds = headers.get("retry-after-ms")
    if milliseconds is not None and (value := _number(milliseconds)) is not None:
        return value / 1000
    text = headers.get("retry-after")
    if text is None:
        return None
    if (seconds := _number(text)) is not None:
        return seconds
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, when.timestamp() - time.time())


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _category(fault: ServerFault) -> Category:
    """Return the category of a fault: by code first, then by words, then by status."""
    words = fault.message.lower()
    if fault.code in _BY_CODE:
        return _BY_CODE[fault.code]
    if any(word in words for word in _QUOTA_WORDS):
        return "quota"
    if any(word in words for word in _CONTEXT_WORDS):
        return "context_length"
    if any(word in words for word in _FILTER_WORDS):
        return "content_filter"
    if fault.status_code in _BY_STATUS:
        return _BY_STATUS[fault.status_code]
    return "api_error"


def to_llm_error(fault: ServerFault, *, model: str, advice: str | None = None) -> LLMError:
    """Return the exception for a server's error."""
    category = _category(fault)
    problem, default_advice = _SENTENCES[category]
    details = [f"HTTP {fault.status_code}"] if fault.status_code else []
    details += [f'"{shorten(fault.message, _MAX_DETAIL)}"'] if fault.message else []
    sentence = f"{model} {problem}" + (f" ({', '.join(details)})" if details else "")
    return LLMError(
        f"{sentence}; {advice or default_advice}.",
        category=category,
        model=model,
        status_code=fault.status_code,
        retry_after=fault.retry_after,
    )
