"""Log probabilities as servers send them: beside a delta of chat completions, and in events of the Responses API."""

from __future__ import annotations

from typing import Any

__all__ = ["token_logprobs"]

_OTHERS = (" a", " the", "\n", "é", " of")


def token_logprobs(text: str, top: int, given: list[dict[str, Any]] | None = None, *, with_bytes: bool = True) -> Any:
    """Return the tokens of a delta: `given`, or the text as one token, of probability e^-0.5, and `top` alternatives.

    >>> token_logprobs("Hi", 1, with_bytes=False)
    [{'token': 'Hi', 'logprob': -0.5, 'top_logprobs': [{'token': 'Hi', 'logprob': -0.5}]}]
    """
    if given is not None:
        return given
    choices = [_token(word, -0.5 - rank, with_bytes) for rank, word in enumerate((text, *_OTHERS)[:top])]
    return [_token(text, -0.5, with_bytes) | {"top_logprobs": choices}]


def _token(text: str, logprob: float, with_bytes: bool) -> dict[str, Any]:
    return {"token": text, "logprob": logprob} | ({"bytes": list(text.encode())} if with_bytes else {})
