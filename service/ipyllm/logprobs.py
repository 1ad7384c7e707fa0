"""Log probabilities of tokens: what a model might have written, and how likely what it wrote was. Immutable."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["TokenChoice", "TokenLogprob", "from_plain", "mean_logprob", "perplexity", "read_logprobs", "to_plain"]

_MAX_TOKENS: Final = 10_000  # in one chunk, or with one unstreamed answer
_MAX_CHOICES: Final = 100  # of one token
_MAX_CHARS: Final = 1_000  # of one token
_OUTSIDE: Final = -9999.0  # OpenAI's for a token outside of the most likely 20: it is no probability
_BYTES_IN_WORDS: Final = re.compile(r"bytes:((?:\\x[0-9a-f]{2})+)", re.IGNORECASE)  # OpenAI's for half a character


@dataclass(frozen=True, slots=True)
class TokenChoice:
    r"""A token that a model might have written.

    Attributes
    ----------
    text : str
        Its text; bytes that are only a part of a character are written as ``\xf0``.
    bytes : bytes
        Its bytes.
    logprob : float or None
        Natural logarithm of its probability; None if the server did not tell it.

    Examples
    --------
    >>> TokenChoice(" Paris", b" Paris", -0.25).probability
    0.7788007830714049
    """

    text: str
    bytes: bytes
    logprob: float | None

    @property
    def probability(self) -> float | None:
        """The probability, from 0 to 1."""
        return None if self.logprob is None else math.exp(self.logprob)


@dataclass(frozen=True, slots=True)
class TokenLogprob(TokenChoice):
    """A token that a model wrote, with the most likely ones that it might have written in its place.

    ``alternatives`` begin with the most likely, and include the token itself where it is one of them.
    """

    alternatives: tuple[TokenChoice, ...] = ()


def mean_logprob(tokens: Iterable[TokenChoice]) -> float | None:
    """Return the mean log probability of ``tokens``, as far as the server told them; None if it told none.

    Examples
    --------
    >>> mean_logprob([TokenChoice("a", b"a", -1.0), TokenChoice("b", b"b", -3.0), TokenChoice("c", b"c", None)])
    -2.0
    """
    known = [token.logprob for token in tokens if token.logprob is not None]
    return math.fsum(known) / len(known) if known else None


def perplexity(tokens: Iterable[TokenChoice]) -> float | None:
    """Return the perplexity of ``tokens``: among how many equally likely tokens the model chose each time, on average.

    Notes
    -----
    The exponential of the negative mean log probability: Jelinek et al., "Perplexity", JASA 62 (1977).

    Examples
    --------
    >>> round(perplexity([TokenChoice("a", b"a", -0.6931472), TokenChoice("b", b"b", -0.6931472)]), 3)
    2.0
    """
    mean = mean_logprob(tokens)
    return None if mean is None else math.exp(min(-mean, 700.0))


def read_logprobs(items: Any) -> tuple[TokenLogprob, ...]:
    """Return what a server says about tokens: a list as in chat completions, or in events of the Responses API.

    What is no such list, or no token, is left out. llama.cpp joins tokens whose bytes are a part of a character with
    the next, of which alone the probability is told; they are separated here.

    Examples
    --------
    >>> read_logprobs([{"token": "Hi", "bytes": [72, 105], "logprob": -0.5, "top_logprobs": []}])
    (TokenLogprob(text='Hi', bytes=b'Hi', logprob=-0.5, alternatives=()),)
    """
    if not isinstance(items, list):
        return ()
    return tuple(token for item in islice(items, _MAX_TOKENS) for token in _read_token(item))


def _read_token(item: Any) -> Iterator[TokenLogprob]:
    choice = _read_choice(item)
    if choice is None:
        return
    top = item.get("top_logprobs")
    alternatives, own = [], None
    for other in islice(top if isinstance(top, list) else (), _MAX_CHOICES):
        if (read := _read_choice(other)) is not None:
            alternatives.append(read)
            if item.get("id") is not None and other.get("id") == item["id"]:
                own = read
    alternatives.sort(key=_by_probability)
    data, text = choice.bytes, choice.text
    if own is not None and own.bytes and own.bytes != data and data.endswith(own.bytes):
        before = data[: -len(own.bytes)]
        yield TokenLogprob(_as_text(before), before, None)
        data, text = own.bytes, own.text
    yield TokenLogprob(text, data, choice.logprob, tuple(alternatives))


def _read_choice(item: Any) -> TokenChoice | None:
    if not isinstance(item, dict) or not isinstance(text := item.get("token"), str):
        return None
    text = text[:_MAX_CHARS]
    codes = item.get("bytes")
    if isinstance(codes, list) and all(type(code) is int and 0 <= code < 256 for code in codes[:_MAX_CHARS]):  # noqa: PLR2004
        data = bytes(codes[:_MAX_CHARS])
    elif in_words := _BYTES_IN_WORDS.fullmatch(text):
        data = bytes.fromhex(in_words[1].replace("\\x", ""))
    else:
        data = text.encode("utf-8", "surrogatepass")
    return TokenChoice(_as_text(data), data, _read_logprob(item.get("logprob")))


def _read_logprob(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not _OUTSIDE < value < 1.0:
        return None  # NaN included
    return min(float(value), 0.0)


def _by_probability(choice: TokenChoice) -> float:
    return math.inf if choice.logprob is None else -choice.logprob


def _as_text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


# ---- as JSON, in the ledger and the cache: [bytes in hexadecimal, logprob], written tokens with a list of these ----


def to_plain(tokens: Iterable[TokenLogprob]) -> list[list[Any]]:
    """Return ``tokens`` as JSON, for :func:`from_plain`."""
    return [
        [token.bytes.hex(), token.logprob, [[other.bytes.hex(), other.logprob] for other in token.alternatives]]
        for token in tokens
    ]


def from_plain(stored: Any) -> tuple[TokenLogprob, ...]:
    """Return the tokens that :func:`to_plain` made JSON of; raise ValueError or TypeError if it did not.

    Examples
    --------
    >>> from_plain(to_plain(read_logprobs([{"token": "Hi", "logprob": -0.5}])))[0].text
    'Hi'
    """
    tokens = []
    for code, logprob, others in stored:
        data = bytes.fromhex(code)
        choices = tuple(_choice(*other) for other in others)
        tokens.append(TokenLogprob(_as_text(data), data, logprob, choices))
    return tuple(tokens)


def _choice(code: str, logprob: float | None) -> TokenChoice:
    data = bytes.fromhex(code)
    return TokenChoice(_as_text(data), data, logprob)
