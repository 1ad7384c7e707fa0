"""Errors as the server answers them: a status, and a sentence in the shape of OpenAI's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipyllm.errors import LLMError
from ipyllm.settings import SettingsError
from ipyllm.text.redact import redact

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse
    from ipyllm_server.answer_shapes import Error, ErrorDetails

__all__ = ["CLIENT_GONE", "Refusal", "as_refusal", "error_body", "of_error", "refusal_of", "status_of"]

CLIENT_GONE: Final = 499
"""Status in the log of a request whose client has gone, as nginx has it."""

_STATUS: Final = {
    "bad_request": 400,
    "context_length": 400,
    "content_filter": 400,
    "refusal": 400,
    "not_found": 404,
    "rate_limit": 429,
    "quota": 429,
    "timeout": 504,
    "cancelled": 503,
    "unknown_error": 500,
}
"""Statuses by the category of an error. All others are failures of the model's server: 502."""


class Refusal(Exception):  # noqa: N818 - what the server answers, not a failure of it
    """A request that is not answered: its status, and one sentence that says what to change.

    Parameters
    ----------
    status : int
        HTTP status.
    message : str
        The sentence.
    code : str
        A word for programs.
    retry_after_s : float, optional
        Seconds after which the same request may succeed.
    parameter : str, optional
        The field of the body that is wrong.
    """

    def __init__(
        self, status: int, message: str, code: str, retry_after_s: float | None = None, parameter: str | None = None
    ) -> None:
        super().__init__(redact(message))
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
        self.parameter = parameter


def status_of(category: str | None, cause: str | None = None) -> int:
    """Return the HTTP status for the category of a call's error.

    Examples
    --------
    >>> status_of("bad_request"), status_of("max_retries_exceeded", "rate_limit"), status_of("authentication")
    (400, 429, 502)
    """
    category = cause if category == "max_retries_exceeded" and cause else category
    return _STATUS.get(category or "", 502)


def of_error(error: LLMError) -> Refusal:
    """Return the refusal for the error of a call."""
    return Refusal(status_of(error.category, error.cause), str(error), error.category, error.retry_after)


def as_refusal(error: BaseException | None) -> Refusal | None:
    """Return the refusal for an error; None for a bug. What is wrong with the settings only the log tells."""
    if isinstance(error, SettingsError):
        return Refusal(500, "The settings of this server are wrong: its log says what.", "settings")
    if isinstance(error, LLMError):
        return of_error(error)
    return error if isinstance(error, Refusal) else None


def refusal_of(response: ChatResponse) -> Refusal | None:
    """Return the refusal for a response that is no complete answer; None for one that is."""
    if response.error_category is None and response.status in {"ok", "truncated"}:
        return None
    category = response.error_category or "cancelled"
    message = response.error_message or "The call was cancelled."
    return Refusal(status_of(category, response.cause), message, category)


def error_body(status: int, message: str, code: str | None, parameter: str | None = None) -> Error:
    """Return the body of an error, as clients of OpenAI read it."""
    is_of_the_client = status < 500  # noqa: PLR2004
    details: ErrorDetails = {
        "message": message,
        "type": "invalid_request_error" if is_of_the_client else "server_error",
        "param": parameter,
        "code": code,
    }
    return {"error": details}
