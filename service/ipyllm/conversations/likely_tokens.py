"""Likely token counts, for responses that the server did not count. Shown as estimates, and never added to counts.

The estimates of :mod:`ipyllm.conversations.tokens` are upper estimates, for limits.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from ipyllm.conversations.tokens import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipyllm.messages import Message

__all__ = ["likely_message_tokens", "likely_output_tokens", "likely_tokens"]

# Least squares over 700 texts in 20 languages, code, JSON and numbers, for the tokenizers cl100k and o200k. Half of
# the estimates are within 7 % of these, nearly all within 30 %.
_WEIGHTS: Final = (
    (re.compile(r"[A-Za-z]+"), 1.1),  # words, with the space before them
    (re.compile(r"(?<=[A-Za-z]{7})[A-Za-z]"), 0.3),  # letters of long words
    (re.compile(r"[0-9]"), 0.85),
    (re.compile(r"[!-/:-@\[-`{-~]"), 0.3),
    (re.compile(r"\n\s*"), 1.8),
    (re.compile("[\u0080-\u07ff]"), 0.48),  # accented, Greek, Cyrillic, Hebrew, Arabic
    (re.compile("[\u0800-\uffff]"), 0.86),  # Indian, Chinese, Japanese, Korean
    (re.compile("[\U00010000-\U0010ffff]"), 2.6),  # emoji
)
_WIDE: Final = re.compile("[\u0800-\U0010ffff]")
_WHOLE_WORDS: Final = 0.75  # most chunks per wide character, if tokens have several characters
_MORE_PER_WIDE: Final = 0.6  # tokens per wide character beyond the chunk: 0.2 for cl100k, 0.85 for SmolLM2

# Tokens of the text per chunk. Between these, a server sends a token in each chunk; from the last on, several.
_LEAST, _ONE, _SEVERAL = 0.35, 1.3, 2.5

_MAX_WEIGHED: Final = 100_000  # characters, which take some 20 ms; of a longer text, samples of that length together
_SAMPLE: Final = 2_000  # characters

_PER_MESSAGE: Final = 4  # role and separators, as chat templates add them
_PER_IMAGE: Final = 1000


def likely_tokens(text: str) -> int:
    """Return the likely number of tokens of ``text`` for the tokenizer of a large model.

    Examples
    --------
    >>> likely_tokens("Half of the estimates are within a few percent."), likely_tokens("今天天气很好。")
    (11, 6)
    """
    return round(_weigh(text))


def likely_output_tokens(text: str, *, n_chunks: int, limit: int | None = None, reached_limit: bool = False) -> int:
    """Return the likely number of tokens that a model wrote.

    Parameters
    ----------
    text : str
        All that arrived: reasoning, text and tool calls.
    n_chunks : int
        Chunks in which it arrived. Where they are about as many as the tokens of ``text``, as with llama.cpp and
        Ollama, each is taken for a token.
    limit : int, optional
        ``max_tokens`` of the request. No estimate exceeds it.
    reached_limit : bool
        Whether the server stopped the answer at its limit, which then is the estimate.

    Examples
    --------
    >>> likely_output_tokens("A fox. It ran.", n_chunks=7)
    7
    >>> likely_output_tokens("A fox. It ran.", n_chunks=1)
    5
    >>> likely_output_tokens("A fox.", n_chunks=3, limit=16, reached_limit=True)
    16
    """
    if reached_limit and limit:
        return limit
    if len(text) > _MAX_WEIGHED:
        sampled = _samples(text)
        factor = len(text) / len(sampled)
        likely = factor * likely_output_tokens(sampled, n_chunks=max(1, round(n_chunks / factor)))
        return min(round(likely), limit or round(likely))
    by_text = max(_weigh(text), 1.0)
    likely = by_text
    if n_chunks > 1 and by_text >= _LEAST * n_chunks:
        weight = min(max((_SEVERAL - by_text / n_chunks) / (_SEVERAL - _ONE), 0.0), 1.0)
        likely = _by_chunks(text, n_chunks) ** weight * by_text ** (1 - weight)
    return min(round(likely), limit or round(likely))


def likely_message_tokens(messages: Iterable[Message]) -> int:
    """Return the likely number of tokens of a conversation; an image of any size counts as 1,000."""
    return round(sum(_PER_MESSAGE + sum(map(_weigh_part, _parts(message))) for message in messages))


def _samples(text: str) -> str:
    """Return pieces of a long text, evenly spaced."""
    n = _MAX_WEIGHED // _SAMPLE
    starts = (k * (len(text) - _SAMPLE) // (n - 1) for k in range(n))
    return "".join(text[start : start + _SAMPLE] for start in starts)


def _weigh(text: str) -> float:
    if len(text) > _MAX_WEIGHED:
        return _weigh(_samples(text)) * len(text) / _MAX_WEIGHED
    return sum(weight * len(pattern.findall(text)) for pattern, weight in _WEIGHTS)


def _by_chunks(text: str, n_chunks: int) -> float:
    """Return the tokens in ``n_chunks`` of a token each.

    Servers hold the bytes of a character back until it is complete. So where a vocabulary spells many Chinese
    characters in bytes, nearly every chunk is one character, of one token or several.
    """
    n_wide = len(_WIDE.findall(text))
    if not n_wide:
        return n_chunks
    share = (n_chunks - _weigh(_WIDE.sub("", text))) / n_wide
    return n_chunks + _MORE_PER_WIDE * n_wide * min(max((share - _WHOLE_WORDS) / (1 - _WHOLE_WORDS), 0.0), 1.0)


def _parts(message: Message) -> Iterator[Any]:
    for name, value in message.items():
        if name == "content" and isinstance(value, list):
            yield from value
        elif name not in {"role", "output_items"} and value is not None:
            yield value


def _weigh_part(part: Any) -> float:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        part = part["text"]
    elif isinstance(part, dict) and part.get("type") in IMAGES:
        return _PER_IMAGE
    return _weigh(part if isinstance(part, str) else json.dumps(part, ensure_ascii=False, default=str))
