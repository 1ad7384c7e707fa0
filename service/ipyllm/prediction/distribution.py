"""The distribution of the next token over a whole vocabulary, recorded once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ipyllm.embedded.native_api import ask_server
from ipyllm.errors import bad_request
from ipyllm.prediction.embedded_model import decode_token, server_of
from ipyllm.text.format import count
from ipyllm.validate import validate_int

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipyllm.embedded.server import EmbeddedServer
    from ipyllm.logprobs import TokenChoice
    from ipyllm.response import ChatResponse

__all__ = ["Distribution", "distribution_in", "record_distribution"]

_WHOLE_VOCABULARY = 1_000_000  # more tokens than any has
_RECORDINGS = 8  # that are kept


@dataclass(frozen=True, slots=True)
class Distribution:
    """Tokens that might come next, the most likely first.

    Attributes
    ----------
    before : str
        The text that they would continue.
    model : str
        Full name of the model.
    texts : tuple of str
        The tokens; bytes of half a character as in :class:`~ipyllm.logprobs.TokenChoice`.
    logprobs : tuple of float
        Natural logarithms of their probabilities.
    is_whole : bool
        Whether these are all tokens of the vocabulary, or only those that a server told.

    Examples
    --------
    >>> Distribution("To be or not", "lab/model", (" to", " the"), (-0.1, -2.4), is_whole=False)
    Distribution(' to', ' the': 2 tokens after 'To be or not', lab/model)
    """

    before: str
    model: str
    texts: tuple[str, ...]
    logprobs: tuple[float, ...]
    is_whole: bool

    def __repr__(self) -> str:
        some = ", ".join(map(repr, self.texts[:3])) + (", …" if len(self.texts) > 3 else "")  # noqa: PLR2004
        return f"Distribution({some}: {count(len(self.texts), 'token')} after {self.before[-40:]!r}, {self.model})"


def record_distribution(prompt: str, model: str | None = None) -> Distribution:
    """Ask an embedded model for the probabilities of all tokens of its vocabulary after a text.

    The last few recordings are kept, so that the same question takes no time.

    Raises
    ------
    LLMError
        ``bad_request``: an empty prompt, or a model that is not embedded.

    Examples
    --------
    >>> found = record_distribution("The capital of France is", "local/smollm2-135m")
    >>> found.texts[0], len(found.texts)
    (' Paris', 49152)
    """
    if not isinstance(prompt, str) or not prompt:
        raise bad_request("A distribution needs a text that the next token would continue.")
    return _record(server_of(model, "SamplingExplorer"), prompt)


@lru_cache(maxsize=_RECORDINGS)
def _record(server: EmbeddedServer, prompt: str) -> Distribution:
    body: dict[str, Any] = {
        "prompt": prompt,
        "n_predict": 1,
        "cache_prompt": True,
        "samplers": ["temperature"],
        "temperature": 1.0,
        "n_probs": _WHOLE_VOCABULARY,
    }
    rows = ask_server(server, "/completion", body)["completion_probabilities"][0]["top_logprobs"]
    return Distribution(
        prompt,
        f"local/{server.model_name}",
        tuple(decode_token(row["bytes"]) for row in rows),
        tuple(float(row["logprob"]) for row in rows),
        is_whole=True,
    )


def distribution_in(response: ChatResponse, position: int = 0) -> Distribution:
    """Return the distribution from which a token of an answer was chosen, as far as the server told it.

    Parameters
    ----------
    response : ChatResponse
        Of a call with ``logprobs=N``.
    position : int
        Of the token, from 0; ``-1`` for the last.

    Raises
    ------
    LLMError
        ``bad_request``: the response has no such token, or no probabilities for it.

    Examples
    --------
    >>> from ipyllm import ChatResponse
    >>> from ipyllm.logprobs import read_logprobs
    >>> item = {"token": "Hi", "logprob": -0.5, "top_logprobs": [{"token": "Oh", "logprob": -1.2}]}
    >>> distribution_in(ChatResponse(content="Hi", model="lab/m", logprobs=read_logprobs([item]))).texts
    ('Hi', 'Oh')
    """
    tokens = response.logprobs
    if not tokens:
        raise bad_request("The response has no log probabilities: ask with logprobs=20.", model=response.model)
    position = validate_int("position", position)
    if not -len(tokens) <= position < len(tokens):
        raise bad_request(f"position must be below {len(tokens)}, the number of tokens, not {position}.")
    position %= len(tokens)
    known = list(_told((tokens[position], *tokens[position].alternatives)).items())
    if not known:
        raise bad_request(f"The server told no probabilities for token {position}: choose another.")
    known.sort(key=lambda item: -item[1])
    before = b"".join(token.bytes for token in tokens[:position]).decode("utf-8", "backslashreplace")
    return Distribution(
        before,
        response.model,
        tuple(data.decode("utf-8", "backslashreplace") for data, _ in known),
        tuple(logprob for _, logprob in known),
        is_whole=False,
    )


def _told(choices: Iterable[TokenChoice]) -> dict[bytes, float]:
    return {
        choice.bytes: choice.logprob
        for choice in choices
        if choice.logprob is not None and math.isfinite(choice.logprob)
    }
