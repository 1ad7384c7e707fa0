"""The ledger's rows of one call: when it opens, while text arrives, when it closes."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ipyllm.ledger.ids import kernel_id
from ipyllm.response import Usage
from ipyllm.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ipyllm.pipeline.accumulator import Accumulator
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse

__all__ = ["closing", "opening", "partial"]


def opening(call_id: str, request: ChatRequest, started_at: datetime) -> Mapping[str, Any]:
    """Row of a call that was just made: who asked what, status ``running``."""
    asked = request.provenance
    return {
        "call_id": call_id,
        "started_at": started_at,
        "kernel_id": kernel_id(),
        "cell_id": asked.cell_id,
        "conversation": asked.conversation,
        "origin": asked.origin,
        "service": request.model.partition("/")[0],
        "model": request.model,
        "params": dict(request.params),
        "tags": dict(asked.tags),
        "experiment": asked.experiment,
        "arm": asked.arm,
        "prompt_id": asked.prompt_id,
        "repeat": asked.repeat,
        "warmup": asked.warmup,
        "status": "running",
        "prompt": request.prompt,
    }


def partial(call_id: str, got: Accumulator) -> Mapping[str, Any]:
    """Text so far, so that a killed kernel loses little."""
    return {"call_id": call_id, "response": got.content, "reasoning": got.reasoning or None}


def closing(call_id: str, response: ChatResponse) -> Mapping[str, Any]:
    """Everything that is known at the end."""
    usage = {name: getattr(response.usage, name) for name in _USAGE}
    timing = {name: getattr(response.timing, name) for name in _TIMING}
    usage["usage_source"] = usage.pop("source")
    return {
        "call_id": call_id,
        "status": response.status,
        "finish_reason": response.finish_reason,
        "error_category": response.error_category,
        "error_message": response.error_message,
        "response_model": response.response_model,
        "endpoint": response.endpoint or None,
        "cold": response.cold,
        "cache_hit": response.cache_hit,
        "cost_usd": response.cost_usd,
        "price_source": response.price_source,
        "response": response.content,
        "reasoning": response.reasoning or None,
        **usage,
        **timing,
    }


# dataclasses.asdict copies deeply, which these flat ones have no need of; and `fields` is slow.
_USAGE = tuple(field.name for field in fields(Usage))
_TIMING = tuple(field.name for field in fields(Timing))
