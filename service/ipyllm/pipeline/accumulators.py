"""Chooses what reads the chunks of a request: one accumulator for each API."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING

from ipyllm.pipeline.chat_chunks import ChatAccumulator
from ipyllm.pipeline.response_events import ResponsesAccumulator

if TYPE_CHECKING:
    from ipyllm.pipeline.accumulator import Accumulator
    from ipyllm.provider import Provider
    from ipyllm.request import ChatRequest
    from ipyllm.settings_models import Api

__all__ = ["new_accumulator"]


def new_accumulator(service: Provider, request: ChatRequest, api: Api) -> Accumulator:
    """Return an empty accumulator for a request that is sent now."""
    reads_logprobs = bool(request.params.get("logprobs"))
    if api == "responses":
        return ResponsesAccumulator(perf_counter_ns(), reads_logprobs=reads_logprobs)
    reasoning_format = service.reasoning_format(request.params)
    return ChatAccumulator(perf_counter_ns(), reads_logprobs=reads_logprobs, reasoning_format=reasoning_format)
