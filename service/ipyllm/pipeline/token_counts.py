"""Which of the tokens that a server counted are visible, and which came while its answer streamed.

Reasoning may be streamed, hidden, or streamed as a summary; servers count it as part of the output, or do not count it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipyllm.conversations.tokens import BYTES_PER_TOKEN, estimate

if TYPE_CHECKING:
    from ipyllm.pipeline.accumulator import Accumulator
    from ipyllm.response import Usage

__all__ = ["streamed_tokens", "visible_tokens"]

_MARGIN: Final = 1.5
_SPECIAL_TOKENS: Final = 16
"""Tokens that are counted and not sent: the end of a turn, the frame of a tool call."""


def visible_tokens(usage: Usage, received: Accumulator) -> int | None:
    """Return the output tokens that are not reasoning, as counted by the server; None where that cannot be told.

    That is so if the server does not count its reasoning apart: it was streamed, or more tokens were counted than the
    answer can have.
    """
    output, reasoning = usage.output_tokens, usage.reasoning_tokens
    if usage.source != "server" or output is None:
        return None
    if reasoning is not None:
        return output - reasoning if 0 <= reasoning <= output else None
    if received.reasoning or _exceeds(output, received.content, received.arguments):
        return None
    return output


def streamed_tokens(usage: Usage, received: Accumulator) -> int | None:
    """Return the counted tokens that came between the first token chunk and the last; None where that cannot be told.

    Hidden reasoning came before the first. Of a summary of the reasoning, the tokens are not those that were counted.
    """
    if not received.reasoning:
        return usage.visible_tokens
    output, reasoning = usage.output_tokens, usage.reasoning_tokens
    if usage.source != "server" or output is None or not 0 <= (reasoning or 0) <= output:
        return None
    sent = received.content, received.arguments, received.reasoning
    return None if received.summarizes_reasoning or _exceeds(output, *sent) else output


def _exceeds(output: int, *sent: str) -> bool:
    """Return whether more tokens were counted than the texts that were sent can have."""
    most = (output - _SPECIAL_TOKENS) / _MARGIN
    return most > sum(map(len, sent)) / BYTES_PER_TOKEN and most > estimate("".join(sent))
