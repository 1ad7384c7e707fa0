"""Maps a server's error to an :class:`LLMError`: its category, and a sentence that says what to do.

Pure: it reads status codes, error codes and words, and does not import the HTTP client.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from ipyllm.errors import LLMError
from ipyllm.text.format import seconds, shorten

if TYPE_CHECKING:
    from ipyllm.response import Category
    from ipyllm.transport.error_body import ServerFault

__all__ = ["is_about_the_model", "to_llm_error"]

_MAX_DETAIL: Final = 300  # characters of the server's words in a sentence
_CONTENT_TOO_LARGE: Final = 413
_TOO_MANY_REQUESTS: Final = 429


class _Meaning(NamedTuple):
    """What an error means: its category, what happened, and what the user can do about it."""

    category: Category
    problem: str
    advice: str


_RATE_LIMIT = _Meaning(
    "rate_limit", "refused the request: too many requests", "wait a little, or send fewer calls at once"
)
_TOKEN_RATE = _Meaning(
    "rate_limit",
    "refused the request: too many tokens for its rate limit",
    "wait, shorten the prompt, or send fewer calls at once",
)
_QUOTA = _Meaning(
    "quota", "refused the request: no quota left", "the account has no credit left: check its billing page"
)
_KEY = _Meaning("authentication", "refused the key", "check the key and its permissions")
_ACCESS = _Meaning("authentication", "denied access", "check what the account and its key may use, and from where")
_BAD_REQUEST = _Meaning("bad_request", "refused the request", "check the parameters")
_TOO_LARGE = _Meaning(
    "bad_request", "refused the request: it has too many bytes", "send less text, or fewer and smaller images"
)
_NO_IMAGES = _Meaning("bad_request", "takes no images", "leave them out, or choose a model that takes images")
_NOT_FOUND = _Meaning("not_found", "was not found", "check the model's name, `%llm_models` lists what can be used")
_CONTEXT = _Meaning(
    "context_length",
    "refused the request: the conversation is longer than its context window",
    "shorten the prompt, or begin a new conversation",
)
_FILTER = _Meaning("content_filter", "refused the request: its content filter blocked it", "rephrase the prompt")
_UNREADABLE_CALL = _Meaning(
    "api_error",
    "wrote something that its server could not read",
    "try again, or choose another model",
)
_OVERLOADED = _Meaning("api_error", "is overloaded", "this is the server's fault, try again later")
_FAILED = _Meaning("api_error", "failed", "this is the server's fault, try again later")
_SLOW = _Meaning("timeout", "took too long", "try again, or allow more time with timeout=…")

_BY_CODE: Final[dict[str, _Meaning]] = {
    # OpenAI, and most who copy it
    "insufficient_quota": _QUOTA,
    "billing_hard_limit_reached": _QUOTA,
    "rate_limit_exceeded": _RATE_LIMIT,
    "slow_down": _RATE_LIMIT,
    "invalid_api_key": _KEY,
    "model_not_found": _NOT_FOUND,
    "context_length_exceeded": _CONTEXT,
    "content_filter": _FILTER,
    "content_policy_violation": _FILTER,
    "invalid_prompt": _FILTER,
    "bio_policy": _FILTER,
    "cyber_policy": _FILTER,
    "misalignment_policy_violation": _FILTER,
    "server_error": _FAILED,
    # Anthropic
    "authentication_error": _KEY,
    "permission_error": _ACCESS,
    "billing_error": _QUOTA,
    "rate_limit_error": _RATE_LIMIT,
    "not_found_error": _NOT_FOUND,
    "request_too_large": _TOO_LARGE,
    "overloaded_error": _OVERLOADED,
    "timeout_error": _SLOW,
    # Google
    "api_key_invalid": _KEY,
    "unauthenticated": _KEY,
    "permission_denied": _ACCESS,
    "resource_exhausted": _RATE_LIMIT,
    "unavailable": _OVERLOADED,
    "deadline_exceeded": _SLOW,
    # Moonshot
    "exceeded_current_quota_error": _QUOTA,
    "rate_limit_reached_error": _RATE_LIMIT,
    "engine_overloaded_error": _RATE_LIMIT,
    "invalid_authentication_error": _KEY,
    "resource_not_found_error": _NOT_FOUND,
    # Groq
    "tool_use_failed": _UNREADABLE_CALL,
    "json_validate_failed": _UNREADABLE_CALL,
    # others
    "insufficient_balance": _QUOTA,
    "invalid_authentication": _KEY,
    "exceed_context_size_error": _CONTEXT,  # llama.cpp
}
_BY_STATUS: Final[dict[int, _Meaning]] = {
    400: _BAD_REQUEST,
    401: _KEY,
    402: _QUOTA,
    403: _ACCESS,
    404: _NOT_FOUND,
    408: _SLOW,
    413: _TOO_LARGE,
    422: _BAD_REQUEST,
    429: _RATE_LIMIT,
    503: _OVERLOADED,
    504: _SLOW,
    529: _OVERLOADED,
}
_TOKENS_PER_MINUTE: Final = re.compile(r"tokens per (?:minute|day|hour)|\btp[md]\b|token rate", re.IGNORECASE)
_NO_CREDIT: Final = re.compile(
    r"exceeded your current quota|insufficient (?:balance|quota|credits?)|insufficient_quota", re.IGNORECASE
)
_WRONG_KEY: Final = re.compile(
    r"(?:incorrect|invalid|wrong|expired|unknown|missing|no) (?:api|access)[ _-]?key"
    r"|(?:api|access)[ _-]?key (?:is )?(?:not valid|invalid|incorrect|expired|missing|not found)",
    re.IGNORECASE,
)
_TOO_LONG: Final = re.compile(
    r"context (?:length|size|window)|maximum context|too many tokens|prompt is too long|maximum prompt length"
    r"|(?:input|prompt) token count.{0,40}exceeds|exceeds the (?:maximum|model's) (?:number of )?(?:input )?tokens"
    r"|reduce the length of",
    re.IGNORECASE,
)
_BLOCKED: Final = re.compile(
    r"content filter|content management policy|content_filter|violating our usage polic", re.IGNORECASE
)
_IMAGES: Final = re.compile(
    r"(?:image|vision|multimodal)\w*[\w\s`'\"]{0,30}(?:not|n't|unsupported|disabled)"
    r"|(?:not|n't|no)\b[\w\s`'\"]{0,40}\b(?:image|vision|multimodal)",
    re.IGNORECASE,
)
_UNSUPPORTED: Final = re.compile(r"support|accept|allow|multimodal|enabled|take", re.IGNORECASE)
_UNKNOWN_MODEL: Final = re.compile(
    r"(?:invalid|unknown|no such|unrecognized) model\b"
    r"|\bmodel\b.{0,120}?(?:not exist|not found|not a valid|is invalid|is not available|no longer)"
    r"|\bmodel\b.{0,120}?has been (?:deprecated|retired|shut)"
    r"|not a valid model|supported (?:api )?model names"
    r"|^only \S+ (?:is |are )?(?:allowed|available|supported)(?: now)?\W*$",
    re.IGNORECASE | re.DOTALL,
)
_CERTAIN: Final = ((_WRONG_KEY, _KEY), (_TOO_LONG, _CONTEXT), (_BLOCKED, _FILTER), (_UNKNOWN_MODEL, _NOT_FOUND))
"""Words that mean the same under each of :data:`_VAGUE`."""

_REFUSALS: Final = frozenset({"invalid_request_error", "invalid_argument", "bad_request", "badrequesterror"})
"""Codes of a request that is refused, for whatever reason."""

_VAGUE: Final = frozenset({None, 200, 400, 403, 404, 422, 500})
"""Statuses that some servers give to every failure."""

_MAX_WORDS: Final = 4000  # characters that are searched


def _meaning(fault: ServerFault) -> _Meaning:
    """Return what a fault means: by code, then by words, then by status."""
    words = fault.message[:_MAX_WORDS]
    if _TOKENS_PER_MINUTE.search(words) and (fault.status_code == _CONTENT_TOO_LARGE or _is_rate_limit(fault)):
        return _TOKEN_RATE
    if _NO_CREDIT.search(words) and fault.retry_after is None:  # with a wait, Google means a limit per minute
        return _QUOTA
    meaning = next((_BY_CODE[code] for code in fault.codes if code in _BY_CODE), None)
    if meaning is None and fault.status_code in _VAGUE:
        meaning = next((meaning for pattern, meaning in _CERTAIN if pattern.search(words)), None)
        if meaning is None and _IMAGES.search(words) and _UNSUPPORTED.search(words):
            meaning = _NO_IMAGES
    if meaning is None and fault.status_code not in _BY_STATUS and _REFUSALS.intersection(fault.codes):
        return _BAD_REQUEST  # within a response that began with status 200
    return meaning or _BY_STATUS.get(fault.status_code or 0, _FAILED)


def _is_rate_limit(fault: ServerFault) -> bool:
    return fault.status_code == _TOO_MANY_REQUESTS or "rate_limit_exceeded" in fault.codes


def is_about_the_model(fault: ServerFault) -> bool:
    """Return whether a fault says that there is no such model, rather than nothing at its address.

    Examples
    --------
    >>> from ipyllm.transport.error_body import parse_error
    >>> is_about_the_model(parse_error({"error": {"message": "The model `m` does not exist"}}, 404))
    True
    >>> is_about_the_model(parse_error("404 page not found", 404))
    False
    """
    return "model_not_found" in fault.codes or _UNKNOWN_MODEL.search(fault.message[:_MAX_WORDS]) is not None


def to_llm_error(fault: ServerFault, *, model: str) -> LLMError:
    """Return the exception for a server's error."""
    meaning = _meaning(fault)
    details = [f"HTTP {fault.status_code}"] if fault.status_code else []
    details += [f'"{shorten(fault.message, _MAX_DETAIL)}"'] if fault.message else []
    sentence = f"{model} {meaning.problem}" + (f" ({', '.join(details)})" if details else "")
    wait = "" if not fault.retry_after else f" The server asks to wait {seconds(fault.retry_after)}."
    return LLMError(
        f"{sentence}; {meaning.advice}.{wait}",
        category=meaning.category,
        model=model,
        status_code=fault.status_code,
        retry_after=fault.retry_after,
    )
