"""Explains a server's refusal by what is known here: the parameter, the API, the model or the key that it is about."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.services.profiles.fit import what_to_do
from ipyllm.services.profiles.learned import remember
from ipyllm.services.profiles.retirement import retirement_note
from ipyllm.services.profiles.wire import sent_name
from ipyllm.text.suggest import closest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ipyllm.services.profiles.profile import Profile
    from ipyllm.transport.address import Address

__all__ = [
    "explain_missing_api",
    "explain_not_running",
    "explain_refusal",
    "explain_unknown_model",
    "explain_wrong_key",
    "how_to_give_a_key",
]

_REFUSALS = re.compile(
    r"unsupported|not support|n't support|unknown (?:name|field|parameter|argument)|unrecogni[sz]ed|extra_forbidden"
    r"|extra inputs are not permitted|additional properties|cannot find field|unexpected (?:keyword|field|parameter)",
    re.IGNORECASE,
)
_OF_A_VALUE = re.compile(r"unsupported.value|does not support .{1,40} with|only the default", re.IGNORECASE)
_NO_SUCH_PATH = frozenset({404, 405, 501})
_UNAUTHORIZED = 401
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
    sentence = f"{model} takes no {name}{given}; {what_to_do(profile, name, params)}"
    explained = _reworded(error, f"{sentence} {said[0] if said else ''}".rstrip() + ".")
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
    return _reworded(
        error,
        f'{error} If this server has no Responses API, set api = "chat" under [profiles."{model}"] in config.toml.',
    )


def explain_unknown_model(
    error: LLMError, profile: Profile, known: Iterable[str], *, service: str, model: str
) -> LLMError:
    """Return an error of a model that the server does not have; with the one to use, if that can be told.

    Examples
    --------
    >>> from ipyllm.services.profiles.profile import Profile
    >>> error = LLMError("lab/lama was not found (HTTP 404).", category="not_found", status_code=404)
    >>> print(explain_unknown_model(error, Profile(), ["qwen", "llama"], service="lab", model="lama"))
    lab/lama was not found (HTTP 404). Did you mean 'lab/llama'?
    """
    if error.category != "not_found" or error.status_code is None or error.is_lasting:
        return error
    if profile.retires is not None and profile.retires <= date.today():  # noqa: DTZ011 - a date without a time zone
        return _reworded(error, f"{error} {retirement_note(profile, f'{service}/{model}')}")
    near = closest(model, (name for name in known if name != model))
    return error if near is None else _reworded(error, f"{error} Did you mean '{service}/{near}'?")


def explain_wrong_key(error: LLMError, *, was_sent: bool, variable: str | None) -> LLMError:
    """Return an error of a key that was refused, with the variable that it comes from, or could be given by.

    Examples
    --------
    >>> error = LLMError("lab/m refused the key (HTTP 401).", category="authentication", status_code=401)
    >>> print(explain_wrong_key(error, was_sent=True, variable="LAB_KEY"))
    lab/m refused the key (HTTP 401). The key came from LAB_KEY.
    >>> print(explain_wrong_key(error, was_sent=False, variable="LAB_KEY"))
    lab/m refused the key (HTTP 401). No key was sent: set LAB_KEY in the environment or in .env, pass api_key=…, or \
type it in a cell: `import getpass, os; os.environ["LAB_KEY"] = getpass.getpass()`.
    """
    if error.category != "authentication" or error.status_code != _UNAUTHORIZED:
        return error
    if was_sent:
        return error if variable is None else _reworded(error, f"{error} The key came from {variable}.")
    how = "pass api_key=…" if variable is None else how_to_give_a_key(variable)
    return _reworded(error, f"{error} No key was sent: {how}.")


def how_to_give_a_key(variable: str) -> str:
    """Return the ways to give a key, as the end of a sentence; the last leaves no key in the notebook."""
    return (
        f"set {variable} in the environment or in .env, pass api_key=…, or type it in a cell: "
        f'`import getpass, os; os.environ["{variable}"] = getpass.getpass()`'
    )


def explain_not_running(error: LLMError, *, title: str, address: Address | None, start: str) -> LLMError:
    """Return the error of a server on this machine that refused the connection, with what starts it.

    Examples
    --------
    >>> from ipyllm.transport.address import Address
    >>> error = LLMError("…", category="connection", model="ollama/qwen3", reached_server=False)
    >>> here = Address("http://127.0.0.1:11434/v1")
    >>> print(explain_not_running(error, title="Ollama", address=here, start="`ollama serve`"))
    Ollama is not running at 127.0.0.1:11434: start it with `ollama serve`.
    """
    if address is None or not address.is_loopback:
        return error
    if error.category != "connection" or error.reached_server or error.is_lasting:
        return error
    return _reworded(error, f"{title} is not running at {address.host}: start it with {start}.")


def _reworded(error: LLMError, sentence: str) -> LLMError:
    return LLMError(
        sentence,
        category=error.category,
        model=error.model,
        status_code=error.status_code,
        attempts=error.attempts,
        retry_after=error.retry_after,
        partial=error.partial,
        reached_server=error.reached_server,
        is_lasting=error.is_lasting,
        cause=error.cause,
        limit=error.limit,
        may_be_at_work=error.may_be_at_work,
    )


def _position(name: str, words: str) -> int | None:
    found = re.search(rf"\b{re.escape(name)}\b", words.partition("(HTTP")[2])
    return None if found is None else found.start()
