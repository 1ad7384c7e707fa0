"""Explains a server's refusal of a parameter: which one it was, and what to vary instead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.services.profiles.fit import what_to_vary
from ipyllm.services.profiles.learned import remember
from ipyllm.services.profiles.wire import sent_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.services.profiles.profile import Profile

__all__ = ["explain_missing_api", "explain_refusal"]

_REFUSALS = re.compile(
    r"unsupported|not support|n't support|unknown (?:name|field|parameter|argument)|unrecogni[sz]ed|extra_forbidden"
    r"|extra inputs are not permitted|additional properties|cannot find field|unexpected (?:keyword|field|parameter)",
    re.IGNORECASE,
)
_OF_A_VALUE = re.compile(r"unsupported.value|does not support .{1,40} with|only the default", re.IGNORECASE)
_NO_SUCH_PATH = frozenset({404, 405, 501})
_OWN_WAYS = frozenset({"tools", "tool_choice", "response_format"})  # they are refused for reasons of their own


def explain_refusal(
    error: LLMError, profile: Profile, params: Mapping[str, Any], *, model: str, server: str
) -> LLMError:
    """Return ``error`` as a refusal of one parameter, and remember it; ``error`` itself if it names none.

    Examples
    --------
    >>> from ipyllm.services.profiles.profile import Profile
    >>> text = 'lab/m refused the request (HTTP 400, "Unsupported parameter: seed"); check the parameters.'
    >>> error = LLMError(text, category="bad_request", model="lab/m", status_code=400)
    >>> print(explain_refusal(error, Profile(), {"seed": 7}, model="lab/m", server="http://lab/v1"))
    lab/m takes no seed; vary temperature (HTTP 400, "Unsupported parameter: seed").
    """
    words = str(error)
    if error.category != "bad_request" or error.status_code is None or not _REFUSALS.search(words):
        return error
    found = [(at, name) for name in params if (at := _position(sent_name(profile, name, params), words)) is not None]
    if not found or min(found)[1] in _OWN_WAYS:
        return error
    name = min(found)[1]
    only_value = name == "effort" or bool(_OF_A_VALUE.search(words))
    given = f" {params[name]!r}" if only_value else ""
    said = re.search(r'\(HTTP \d+(?:, ".*")?\)', words, re.DOTALL)
    sentence = f"{model} takes no {name}{given}; {what_to_vary(profile, params)}"
    explained = LLMError(
        f"{sentence} {said[0] if said else ''}".rstrip() + ".",
        category="bad_request",
        model=model,
        status_code=error.status_code,
        attempts=error.attempts,
        partial=error.partial,
    )
    remember(str(explained), name, params, model=model, server=server, only_value=only_value)
    return explained


def explain_missing_api(error: LLMError, *, model: str) -> LLMError:
    """Return an error of the Responses API; if it may be that the server has no such API, with what to do then.

    Examples
    --------
    >>> error = LLMError("lab does not know the model m.", category="not_found", model="lab/m", status_code=404)
    >>> print(explain_missing_api(error, model="lab/m"))
    lab does not know the model m. If this server has no Responses API, set api = "chat" under [profiles."lab/m"] in \
config.toml.
    """
    if error.status_code not in _NO_SUCH_PATH or error.is_lasting:  # it says already what is wrong
        return error
    return LLMError(
        f'{error} If this server has no Responses API, set api = "chat" under [profiles."{model}"] in config.toml.',
        category=error.category,
        model=model,
        status_code=error.status_code,
        attempts=error.attempts,
        partial=error.partial,
    )


def _position(name: str, words: str) -> int | None:
    found = re.search(rf"\b{re.escape(name)}\b", words.partition("(HTTP")[2])
    return None if found is None else found.start()
