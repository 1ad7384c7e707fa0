"""Builds the ledger row of an exchange: when it starts, while text arrives, when it ends."""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ipyllm.ledger.ids import kernel_id
from ipyllm.logprobs import mean_logprob, perplexity, to_plain
from ipyllm.process_identity import host_name
from ipyllm.response import Usage
from ipyllm.text.redact import redact
from ipyllm.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ipyllm.pipeline.accumulator import Accumulator
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse

__all__ = ["final_row", "opening_row", "partial_row"]


# Read once, because `fields` is slow; `asdict` would make deep copies, which flat objects do not need.
_USAGE = tuple(field.name for field in fields(Usage))
_TIMING = tuple(field.name for field in fields(Timing))
_RESPONSE = (
    *("status", "finish_reason", "refused", "error_category", "cause", "error_message", "response_model"),
    *("cold", "cache_hit", "cost_usd", "price_source"),
)
_PROVENANCE = (
    *("cell_id", "conversation", "origin"),
    *("experiment", "arm", "variant", "prompt_id", "repeat", "warmup", "concurrency", "executor"),
)


_values_of_usage, _values_of_timing = attrgetter(*_USAGE), attrgetter(*_TIMING)
_values_of_response, _values_of_provenance = attrgetter(*_RESPONSE), attrgetter(*_PROVENANCE)


def opening_row(call_id: str, request: ChatRequest, started_at: datetime) -> Mapping[str, Any]:
    """Return the first part of a row, with the status ``running``."""
    provenance = request.provenance
    return {
        "call_id": call_id,
        "started_at": started_at,
        "kernel_id": kernel_id(),
        "machine": host_name(),
        "service": request.model.partition("/")[0],
        "model": request.model,
        "params": dict(request.params),
        "effort": request.params.get("effort"),
        "verbosity": request.params.get("verbosity"),
        "tags": dict(provenance.tags),
        "status": "running",
        "prompt": request.prompt,
        **dict(zip(_PROVENANCE, _values_of_provenance(provenance), strict=True)),
    }


def partial_row(call_id: str, received: Accumulator) -> Mapping[str, Any]:
    """Return the text so far, so that little is lost when a kernel is killed."""
    content, reasoning = received.peek()
    return {"call_id": call_id, "response": content, "reasoning": reasoning or None}


def final_row(
    call_id: str, response: ChatResponse, cost_bound_usd: float | None = None, address: str | None = None
) -> Mapping[str, Any]:
    """Return the last part of a row; ``cost_bound_usd`` is the most that the call can have cost.

    ``address`` is the full address that was asked, as :func:`~ipyllm.transport.address.canonical` writes it.
    """
    usage = dict(zip(_USAGE, _values_of_usage(response.usage), strict=True))
    usage["usage_source"] = usage.pop("source")
    return {
        "call_id": call_id,
        "endpoint": response.endpoint or None,
        "address": address,
        "response": response.content,
        "reasoning": response.reasoning or None,
        **dict(zip(_RESPONSE, _values_of_response(response), strict=True)),
        "cost_bound_usd": cost_bound_usd,
        **usage,
        **dict(zip(_TIMING, _values_of_timing(response.timing), strict=True)),
        **(_logprobs(response) if response.logprobs else {}),
    }


def _logprobs(response: ChatResponse) -> Mapping[str, Any]:
    """Return the columns of log probabilities; without those of each token if the text has a key, which they spell."""
    tokens = response.logprobs
    figures = {"mean_logprob": mean_logprob(tokens), "perplexity": perplexity(tokens)}
    return figures if redact(response.content) != response.content else {**figures, "logprobs": to_plain(tokens)}
