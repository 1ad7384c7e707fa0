"""Reads a server's error: what it says, its code, and how long to wait, in whatever shape the server chose.

Pure: it does not import the HTTP client.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ServerFault", "parse_error", "retry_after_s"]

_MESSAGE_KEYS: Final = ("message", "msg", "detail", "error_message", "error_description", "errors", "error", "title")
_LAST_MESSAGE_KEYS: Final = ("reason", "description")  # often a code; shown if there is nothing else
_MAX_DEPTH: Final = 6
_MAX_MESSAGE: Final = 10_000  # characters
_HTTP_ERRORS: Final = range(400, 600)

_WAIT_IN_WORDS: Final = re.compile(
    r"(?:try again|retry|wait)\s+(?:in|after|for)?\s*"
    r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)\s?(ms|s)(?:ec\w*)?\b)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ServerFault:
    """The error that a server returned, before it is mapped.

    Attributes
    ----------
    status_code : int or None
        HTTP status; from the body if the response began with status 200.
    codes : tuple of str
        What the body has as ``code``, ``type``, ``status`` and ``reason``, in lower case.
    message : str
        The server's words.
    param : str
        Name of the parameter that the server complains about, as in OpenAI's errors.
    retry_after : float or None
        Seconds to wait.
    """

    status_code: int | None = None
    codes: tuple[str, ...] = ()
    message: str = ""
    param: str = ""
    retry_after: float | None = None


def parse_error(body: Any, status_code: int | None = None, headers: Mapping[str, str] | None = None) -> ServerFault:
    """Parse an error body: OpenAI's form, a flat or nested object, a list, a bare string, or HTML.

    Examples
    --------
    >>> parse_error([{"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}}]).message
    'Slow down.'
    >>> parse_error({"errors": [{"message": "Unknown field."}]}, 400).message
    'Unknown field.'
    """
    message = _beginning(_with_details(_message(body).strip(), body))
    if message.startswith("<"):
        message = "it returned a web page, as a proxy or a wrong address does"
    codes = tuple(dict.fromkeys(str(code).lower() for key in ("code", "type", "status") for code in _values(body, key)))
    reasons = tuple(str(reason).lower() for reason in _values(body, "reason"))
    if status_code not in _HTTP_ERRORS:
        status_code = next((int(code) for code in codes if code.isdecimal() and int(code) in _HTTP_ERRORS), status_code)
    wait = retry_after_s(headers or {})
    if wait is None:
        wait = next((_duration(delay) for delay in _values(body, "retryDelay")), None)  # google.rpc.RetryInfo
    if wait is None:
        wait = _wait_in_words(message)
    param = next((str(param) for param in _values(body, "param") if isinstance(param, str)), "")
    return ServerFault(status_code, codes + reasons, message, param, wait)


def _beginning(message: str) -> str:
    """Return a long message folded and cut: far more than is shown, so that a key in what is shown is whole."""
    if len(message) <= _MAX_MESSAGE:
        return message
    return " ".join(strip_control_sequences(message).split())[:_MAX_MESSAGE]


def _message(body: Any, depth: int = 0) -> str:
    """Return the server's words: the first text under a key that holds messages, else the text itself."""
    if isinstance(body, str):
        return body
    if depth > _MAX_DEPTH:
        return ""
    if isinstance(body, list):
        texts = [text for item in body[:3] if (text := _message(item, depth + 1))]
        return "; ".join(texts)
    if not isinstance(body, dict):
        return ""
    by_name = {str(key).lower(): value for key, value in body.items()}
    for keys in (_MESSAGE_KEYS, _LAST_MESSAGE_KEYS):
        for key in keys:
            if text := _message(by_name.get(key), depth + 1):
                return _with_place(text, by_name.get("loc"))
    return ""


def _with_details(message: str, body: Any) -> str:
    """Add what stands beside the server's words.

    That is what the provider behind OpenRouter said, text and often JSON, ``{"metadata": {"raw": "…"}}``; or the
    function call that Groq could not read, ``failed_generation``.
    """
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {}
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else error.get("failed_generation")
    if not isinstance(raw, str) or not raw.strip():
        return message
    try:
        relayed = _message(json.loads(raw)) or raw
    except (ValueError, RecursionError):
        relayed = raw
    return f"{message.rstrip('.')}: {relayed}" if message else relayed


def _with_place(text: str, place: Any) -> str:
    """Add the field that a validation error is about, as FastAPI has it: ``{"loc": ["body", "seed"], "msg": …}``."""
    if not isinstance(place, list):
        return text
    names = ".".join(str(part) for part in place if part != "body")
    return f"{names}: {text}" if names else text


def _values(body: Any, key: str, depth: int = 0) -> Iterator[str | int]:
    """Yield the texts and numbers under ``key``, outer ones first, wherever errors are nested."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(body, list):
        for item in body[:8]:
            yield from _values(item, key, depth + 1)
    elif isinstance(body, dict):
        value = body.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            yield value
        for inner in ("error", "errors", "detail", "details", "message", "innererror"):
            yield from _values(body.get(inner), key, depth + 1)


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


def _duration(delay: str | int) -> float | None:
    return _number(str(delay).removesuffix("s"))


def _wait_in_words(message: str) -> float | None:
    """Return the seconds in "Please try again in 1m2.5s", as OpenAI and Groq say it, or None."""
    for match in _WAIT_IN_WORDS.finditer(message):
        hours, minutes, seconds, unit = match.groups()
        if hours or minutes or seconds:
            last = float(seconds or 0) / (1000 if unit and unit.lower() == "ms" else 1)
            return int(hours or 0) * 3600 + int(minutes or 0) * 60 + last
    return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
