"""An answer as JSON: what a client needs of a response."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse
    from ipyllm_server.answer_shapes import Answer

__all__ = ["answer_json"]


def answer_json(response: ChatResponse, conversation: str | None = None, note: str | None = None) -> Answer:
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
        "usage": {
            "input_tokens": usage["input_tokens"],
            "output_tokens": usage["output_tokens"],
            "cached_tokens": usage["cached_tokens"],
            "reasoning_tokens": usage["reasoning_tokens"],
            "source": usage["source"],
        },
        "timing": {
            "queue_s": timing["queue_s"],
            "ttft_s": timing["ttft_s"],
            "ttfo_s": timing["ttfo_s"],
            "total_s": timing["total_s"],
            "output_tps": timing["output_tps"],
        },
        "cost_usd": response.cost_usd,
        "cache_hit": response.cache_hit,
        "note": note,
    }
