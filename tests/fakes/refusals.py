"""HTTP error replies with the providers' texts, and error pages of proxies.

The fields follow the error guides of OpenAI, Azure OpenAI and DeepSeek; some messages are
shortened, and the code of `unavailable` is invented: test the status and the code, not the text.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from tests.fakes.script import Headers, Script, answer, status

__all__ = [
    "bad_json",
    "content_filter",
    "context_length_exceeded",
    "error",
    "forbidden",
    "html",
    "insufficient_balance",
    "insufficient_quota",
    "model_not_found",
    "prompt_filtered",
    "rate_limited",
    "redirect",
    "server_error",
    "unauthorized",
    "unavailable",
]


def error(
    status_code: int,
    message: str,
    *,
    kind: str | None = "invalid_request_error",
    code: str | int | None = None,
    param: str | None = None,
    headers: Headers = (),
    delay: float = 0.0,
) -> Script:
    """Build an error in OpenAI's envelope; `kind` is the field `type`."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return status(status_code, body, headers, delay=delay)


def rate_limited(retry_after: float | timedelta | None = None) -> Script:
    """429. `retry_after` in seconds is sent as a number, a timedelta as the HTTP date that far from now."""
    headers = [("x-ratelimit-limit-requests", "60"), ("x-ratelimit-remaining-requests", "0")]
    if isinstance(retry_after, timedelta):
        headers.append(("retry-after", format_datetime(datetime.now(UTC) + retry_after, usegmt=True)))
    elif retry_after is not None:
        headers.append(("retry-after", f"{retry_after:g}"))
    message = "Rate limit reached for requests. Limit: 60 / min. Please slow down."
    return error(429, message, kind="requests", code="rate_limit_exceeded", headers=headers)


def insufficient_quota() -> Script:
    """429 that must not be retried: only the code tells."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return error(429, message, kind="insufficient_quota", code="insufficient_quota")


def insufficient_balance() -> Script:
    """402, DeepSeek's reply for an empty account."""
    return error(402, "Insufficient Balance", kind="unknown_error", code="invalid_request_error")


def context_length_exceeded(limit: int = 8192, asked: int = 9000) -> Script:
    """400: the prompt does not fit."""
    message = (
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in {asked} "
        "tokens. Please reduce the length of the messages."
    )
    return error(400, message, param="messages", code="context_length_exceeded")


def content_filter(text: str = "I was about to", **options: Any) -> Script:
    """Build an answer that ends with finish_reason "content_filter"."""
    return answer(text, finish_reason="content_filter", **options)


def prompt_filtered() -> Script:
    """400, Azure's refusal of a prompt."""
    message = (
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. "
        "Please modify your prompt and retry."
    )
    return error(400, message, kind=None, param="prompt", code="content_filter")


def bad_json() -> Script:
    """400: the request was not JSON."""
    return error(400, "We could not parse the JSON body of your request.")


def unauthorized(key: str | None = "sk-wrong-key-0000") -> Script:
    """401 with OpenAI's message, which repeats half of the key and so must be redacted."""
    if not key:
        return error(401, "You didn't provide an API key. You need to provide it in an Authorization header.")
    shown = key[:8] + "*" * max(len(key) - 12, 4) + key[-4:]
    message = (
        f"Incorrect API key provided: {shown}. You can find your API key at "
        "https://platform.openai.com/account/api-keys."
    )
    return error(401, message, code="invalid_api_key")


def forbidden() -> Script:
    """403."""
    message = "Country, region, or territory not supported"
    return error(403, message, kind="request_forbidden", code="unsupported_country_region_territory")


def model_not_found(model: str = "no-such-model") -> Script:
    """404 with OpenAI's message."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return error(404, message, code="model_not_found")


def server_error(headers: Headers = ()) -> Script:
    """500."""
    message = "The server had an error while processing your request. Sorry about that!"
    return error(500, message, kind="server_error", headers=headers)


def unavailable(headers: Headers = ()) -> Script:
    """503."""
    message = "The engine is currently overloaded, please try again later."
    return error(503, message, kind="server_error", code="overloaded", headers=headers)


def html(code: int = 200, title: str | None = None) -> Script:
    """Build a web page instead of JSON: a proxy's 502, or a login page with status 200."""
    title = title or ("Sign in to continue" if code == 200 else f"{code} Bad Gateway")
    page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n"
    return status(code, page, {"content-type": "text/html; charset=utf-8"})


def redirect(to: str, code: int = 307) -> Script:
    """Redirect the client."""
    return status(code, b"", {"location": to})
