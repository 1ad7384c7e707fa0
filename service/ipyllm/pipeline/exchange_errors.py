"""Errors that an exchange finds by itself: of what arrived, of its time, and of its attempts."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.observability.logs import log_failure
from ipyllm.response import ChatResponse
from ipyllm.runtime.process_exit import is_exit_error
from ipyllm.text.format import shorten

if TYPE_CHECKING:
    from ipyllm.pipeline.accumulator import Accumulator
    from ipyllm.pipeline.field_bounds import ImplausibleAnswerError

__all__ = [
    "as_llm_error",
    "error_of_complete_stream",
    "failed_response",
    "gave_up",
    "implausible_answer",
    "took_too_long",
]

_logger = logging.getLogger("ipyllm.call")


def error_of_complete_stream(received: Accumulator, model: str) -> LLMError | None:
    """Return the error of a stream that is complete but has no answer, or not all of it."""
    if received.failure is not None:
        return LLMError(
            f"{model} broke off its answer (finish reason {shorten(repr(received.failure), 60)}); this is the "
            "server's fault, try again.",
            category="api_error",
            model=model,
        )
    if not received.has_tokens and received.finish_reason is None:
        return LLMError(
            f"{model} returned an empty response. Check that the address is that of a model server.",
            category="api_error",
            model=model,
        )
    if received.finish_reason == "content_filter":
        return LLMError(
            f"The content filter of {model} stopped the answer. Rephrase the prompt.",
            category="content_filter",
            model=model,
        )
    return None


def implausible_answer(exc: ImplausibleAnswerError, model: str) -> LLMError:
    """Return the error of an answer of which a part is longer than any model's."""
    return LLMError(f"{model} {exc}; this is the server's fault.", category="api_error", model=model, is_lasting=True)


def took_too_long(model: str, total_s: float | None) -> LLMError:
    """Return the error of a call whose ``total_s`` seconds are over."""
    sentence = (
        f"{model} took too long: the whole call took more than {total_s:g} s; "
        "allow more time with timeout=Timeout(total=…)."
    )
    return LLMError(sentence, category="timeout", model=model, limit="total")


def gave_up(last: LLMError, attempts: int, model: str) -> LLMError:
    """Return the error of a call that failed in each of several attempts, of which ``last`` is the latest error."""
    return LLMError(
        f"Gave up after {attempts} attempts: {last}",
        category="max_retries_exceeded",
        model=model,
        status_code=last.status_code,
        attempts=attempts,
        retry_after=last.retry_after,
        reached_server=last.reached_server,
        cause=last.category,
        limit=last.limit,
    )


def as_llm_error(exc: BaseException, model: str) -> LLMError:
    """Convert ``exc`` to an LLMError: an LLMError stays, a cancellation is named, anything else is logged as a bug."""
    if isinstance(exc, LLMError):
        return exc
    if isinstance(exc, asyncio.CancelledError) or is_exit_error(exc):
        return LLMError(f"The call to {model} was cancelled.", category="cancelled", model=model)
    from ipyllm.tools.result_text import describe_error

    log_failure(_logger, "a call failed in our own code", exc, model=model)
    # Not chained: a library's exception may carry the request, and with it the key. The log has the traceback.
    return LLMError(f"{model}: {describe_error(exc)}", category="unknown_error", model=model)


def failed_response(error: LLMError, model: str) -> ChatResponse:
    """Return the response of a call that ended with ``error``: what had come, if that is known."""
    return error.partial or ChatResponse(
        status="cancelled" if error.category == "cancelled" else "error",
        model=model,
        error_category=error.category,
        error_message=str(error),
        cause=error.cause,
    )
