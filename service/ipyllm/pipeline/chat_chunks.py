"""Reads the chunks of chat completions.

Servers differ: ``choices`` or ``delta`` may be missing or None, the last chunk may have no choices, and usage may be
missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.pipeline.accumulator import Accumulator
from ipyllm.transport.usage import usage_in_chunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipyllm.events import Event, ToolCallDelta

__all__ = ["ChatAccumulator"]


class ChatAccumulator(Accumulator):
    """Accumulates the chunks of chat completions, or one unstreamed completion."""

    __slots__ = ()

    def _read(self, chunk: dict[str, Any], at_ns: int) -> list[Event]:
        self._take_names(chunk)
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return []
        choice = choices[0]
        reason = choice.get("finish_reason")
        if isinstance(reason, str):
            self.finish_reason = reason
        delta = choice.get("delta")
        if not delta and choice.get("message"):  # a server that ignores `stream` sends one `message`, no `delta`s
            delta = choice["message"]
            self.streamed = False
        return list(self._events(delta, at_ns)) if isinstance(delta, dict) else []

    def _usage_in(self, chunk: dict[str, Any]) -> dict[str, Any] | None:
        return usage_in_chunk(chunk)

    def _events(self, delta: dict[str, Any], at_ns: int) -> Iterator[Event]:
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(reasoning, str) and reasoning:
            self.summarizes_reasoning = self.summarizes_reasoning or _is_summary(delta)
            yield self._add_reasoning(reasoning, at_ns)
        text = delta.get("content")
        if isinstance(text, str) and text:
            yield self._add_text(text, at_ns)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self.refused = True
            yield self._add_text(refusal, at_ns)
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            for position, call in enumerate(calls):
                if isinstance(call, dict):
                    yield self._tool_delta(call, position, at_ns)

    def _tool_delta(self, call: dict[str, Any], position: int, at_ns: int) -> ToolCallDelta:
        index, function = call.get("index"), call.get("function")
        index = index if isinstance(index, int) else position
        function = function if isinstance(function, dict) else {}
        arguments = function.get("arguments")
        piece = arguments if isinstance(arguments, str) else ""
        return self._add_call(index, call.get("id"), function.get("name"), piece, at_ns)


def _is_summary(delta: dict[str, Any]) -> bool:
    """Whether the reasoning of a chunk is a summary, which OpenRouter says for the models it relays."""
    details = delta.get("reasoning_details")
    return isinstance(details, list) and any(
        isinstance(detail, dict) and detail.get("type") == "reasoning.summary" for detail in details
    )
