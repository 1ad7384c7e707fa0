"""Maps exceptions of the ``openai`` client to :class:`LLMError`."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import LLMError
from ipyllm.text.format import shorten
from ipyllm.transport.certificates import certificate_problem
from ipyllm.transport.decode import connection_lost_error
from ipyllm.transport.error_body import ServerFault, parse_error
from ipyllm.transport.error_mapping import is_about_the_model, to_llm_error
from ipyllm.transport.size_bounds import SizeBounds, too_large

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai import APIStatusError

    from ipyllm.response import Category
    from ipyllm.transport.address import Address

__all__ = ["is_about_stream_options", "is_no_such_path", "map_client_error", "map_connection_error"]

_REFUSED_PARAMETER: Final = frozenset({400, 422})
_NO_SUCH_PATH: Final = frozenset({404, 405})
_MAX_DETAIL: Final = 200  # characters


def is_about_stream_options(exc: Exception) -> bool:
    """Whether a server refused ``stream_options``, which Mistral's schema and some proxies do not know."""
    import openai

    if not isinstance(exc, openai.APIStatusError) or exc.status_code not in _REFUSED_PARAMETER:
        return False
    fault = parse_error(_body(exc))
    return any(name in text for name in ("stream_options", "include_usage") for text in (fault.message, fault.param))


def is_no_such_path(exc: Exception) -> bool:
    """Whether a server has nothing at the address, rather than no such model."""
    import openai

    if not isinstance(exc, openai.APIStatusError) or exc.status_code not in _NO_SUCH_PATH:
        return False
    return not is_about_the_model(parse_error(_body(exc), exc.status_code))


def map_client_error(exc: Exception, address: Address, model: str, connect_s: float | None) -> LLMError:
    """Return the :class:`LLMError` for an exception of the client; ``connect_s`` was the time limit of connecting."""
    import openai

    category: Category = "connection"
    is_lasting = False
    causes = list(_causes(exc))
    match exc:
        case openai.APIStatusError():
            return to_llm_error(parse_error(_body(exc), exc.status_code, exc.response.headers), model=model)
        case openai.APIConnectionError() if (problem := certificate_problem(causes)) is not None:
            is_lasting = True
            sentence = f"{model} cannot be reached at {address.host}: {problem}."
        case openai.APIConnectionError() if (refused := _refused_redirect(causes)) is not None:
            category = "bad_request"
            sentence = (
                f"{model} at {address.host} {refused}, which is not followed: it would get the prompt. If that is the "
                "right address, use it as base_url."
            )
        case openai.APIConnectionError() if _is_too_large(causes):
            bounds = SizeBounds.current()
            return too_large("in one list of models", bounds.event, "max_event_mb", model)
        # The aiohttp transport reports refused and dropped connections as timeouts; the cause tells them apart.
        case openai.APITimeoutError() if isinstance(causes[-1], (TimeoutError, asyncio.CancelledError)):
            category = "timeout"
            sentence = (
                f"{model} could not be reached at {address.host} within {connect_s:g} s; check that the server runs, "
                "or allow more time with timeout=…."
            )
        case openai.APIConnectionError() if _is_malformed(causes):
            return _not_http_error(causes[-1], address, model)
        case openai.APIConnectionError():
            cause = causes[-1]
            detail = (isinstance(cause, OSError) and _reason(cause)) or str(cause) or type(cause).__name__
            reason = f" ({shorten(detail, _MAX_DETAIL)})" if cause is not exc else ""
            sentence = (
                f"{model} cannot be reached at {address.host}{reason}; check that the server runs "
                "and the address is right."
            )
        case openai.APIError():
            return to_llm_error(
                ServerFault(codes=(exc.code,) if exc.code else (), message=str(exc.message)), model=model
            )
        case _:
            category, sentence = "unknown_error", f"{model}: {exc}"
    return LLMError(
        sentence,
        category=category,
        model=model,
        reached_server=not _failed_to_connect(causes),
        is_lasting=is_lasting,
        limit="connect" if category == "timeout" else None,
    )


def map_connection_error(exc: Exception, address: Address, model: str) -> LLMError:
    """Return the error for a connection that was lost while a refusal was read, or for what is not HTTP."""
    causes = list(_causes(exc))
    if _is_malformed(causes):
        return _not_http_error(causes[-1], address, model)
    return connection_lost_error(type(exc).__name__, address, model)


def _not_http_error(cause: BaseException, address: Address, model: str) -> LLMError:
    said = " ".join(str(getattr(cause, "message", None) or cause).split()).removesuffix(" ^")
    return LLMError(
        f"{model} at {address.host} sent a response that is not HTTP ({shorten(said, 80)}); "
        "this is the server's fault, or the address is not that of a model server.",
        category="api_error",
        model=model,
    )


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and its causes; the last is the operating system's error, if there is one."""
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def _is_malformed(causes: list[BaseException]) -> bool:
    """Return whether a response broke the rules of HTTP, and was not just cut off."""
    import aiohttp
    from aiohttp.http_exceptions import HttpProcessingError

    for cause in causes:
        if isinstance(cause, aiohttp.ClientPayloadError):
            return False
        if isinstance(cause, HttpProcessingError | aiohttp.ClientResponseError):
            return True
    return False


def _refused_redirect(causes: list[BaseException]) -> BaseException | None:
    """Return the redirect that was not followed, if that is a cause."""
    from ipyllm.transport.redirects import RedirectRefusedError

    return next((cause for cause in causes if isinstance(cause, RedirectRefusedError)), None)


def _is_too_large(causes: list[BaseException]) -> bool:
    from ipyllm.transport.bounded_body import ResponseTooLargeError

    return any(isinstance(cause, ResponseTooLargeError) for cause in causes)


def _failed_to_connect(causes: list[BaseException]) -> bool:
    """Return whether there was no connection."""
    import aiohttp

    return any(isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError) for cause in causes)


def _body(exc: APIStatusError) -> Any:
    """Return the body of a refusal: parsed, if it is JSON. The exception's own body is a part of it."""
    text = exc.response.text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _reason(cause: OSError) -> str | None:
    """Return the system's words for an error; asyncio puts ``Connect call failed (address)`` in their place."""
    if cause.errno is not None and str(cause.strerror).startswith("Connect call failed"):
        return os.strerror(cause.errno)
    return cause.strerror
