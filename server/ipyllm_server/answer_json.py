"""An answer as JSON: what a client needs of a response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse

__all__ = ["answer_json"]

_USAGE: Final = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "source")
_TIMING: Final = ("queue_s", "ttft_s", "ttfo_s", "total_s", "output_tps")


def answer_json(response: ChatResponse, conversation: str | None = None) -> dict[str, Any]:
    """Return a response as the server sends it. Unknown values are null.

    Examples
    --------
    >>> from ipyllm.response import ChatResponse
    >>> answer_json(ChatResponse(content="Hello!", model="local/smollm2-135m"))["content"]
    'Hello!'
    """
    usage, timing = response["usage"], response["timing"]
    return {
        "call_id": response.call_id,
        "conversation": conversation,
        "model": response.model,
        "content": response.content,
        "reasoning": response.reasoning,
        "tool_calls": response["tool_calls"],
        "status": response.status,
        "finish_reason": response.finish_reason,
        "refused": response.refused,
        "usage": {name: usage.get(name) for name in _USAGE},
        "timing": {name: timing.get(name) for name in _TIMING},
        "cost_usd": response.cost_usd,
        "cache_hit": response.cache_hit,
    }
