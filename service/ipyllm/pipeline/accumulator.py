"""Accumulates the chunks of one attempt, and converts each chunk to events.

Servers differ: ``choices`` or ``delta`` may be missing or None, the last chunk may have no choices, and usage may be
missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ipyllm.events import Event, ReasoningDelta, TextDelta, ToolCallDelta
from ipyllm.response import ToolCall
from ipyllm.transport.usage import counts_output, merge_usage, usage_in_chunk

if TYPE_CHECKING:
    from ipyllm.transport.wire_times import Arrival

__all__ = ["Accumulator"]


@dataclass(slots=True, eq=False)
class Accumulator:
    """The text, tool calls, usage and arrival times of one response so far."""

    sent_ns: int
    first_token_ns: int | None = None
    first_text_ns: int | None = None
    first_reasoning_ns: int | None = None
    last_reasoning_ns: int | None = None
    last_token_ns: int | None = None
    end_ns: int | None = None
    max_gap_ns: int = 0
    n_chunks: int = 0
    first_read_delay_ns: int | None = None
    stamped_by_kernel: bool = True
    streamed: bool = True
    summarizes_reasoning: bool = False
    finish_reason: str | None = None
    raw_usage: dict[str, Any] | None = None
    response_model: str | None = None
    service_tier: str | None = None
    _text: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _tools: dict[int, dict[str, str]] = field(default_factory=dict)
    _chunks_counted: int = 0

    def feed(self, chunk: dict[str, Any], arrival: Arrival) -> list[Event]:
        """Add one chunk and return its events."""
        if self.response_model is None and isinstance(chunk.get("model"), str):
            self.response_model = chunk["model"]
        tier = chunk.get("service_tier")
        if isinstance(tier, str) and tier:
            self.service_tier = tier
        events = self._read(chunk, arrival)
        usage = usage_in_chunk(chunk)
        if usage is not None:
            self.raw_usage = merge_usage(self.raw_usage, usage)
            if counts_output(usage):
                self._chunks_counted = self.n_chunks
        return events

    def _read(self, chunk: dict[str, Any], arrival: Arrival) -> list[Event]:
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
        if not isinstance(delta, dict):
            return []
        events = self._events(delta, arrival.at_ns)
        if events:
            self._record_arrival(arrival)
        return events

    def _events(self, delta: dict[str, Any], at_ns: int) -> list[Event]:
        events: list[Event] = []
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(reasoning, str) and reasoning:
            if self.first_reasoning_ns is None:
                self.first_reasoning_ns = at_ns
            self.last_reasoning_ns = at_ns
            self.summarizes_reasoning = self.summarizes_reasoning or _is_summary(delta)
            self._reasoning.append(reasoning)
            events.append(ReasoningDelta(reasoning, at_ns))
        text = delta.get("content")
        if isinstance(text, str) and text:
            if self.first_text_ns is None:
                self.first_text_ns = at_ns
            self._text.append(text)
            events.append(TextDelta(text, at_ns))
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            for position, call in enumerate(calls):
                if isinstance(call, dict):
                    events.append(self._tool_delta(call, position, at_ns))
        return events

    def _tool_delta(self, call: dict[str, Any], position: int, at_ns: int) -> ToolCallDelta:
        index, function = call.get("index"), call.get("function")
        index = index if isinstance(index, int) else position
        function = function if isinstance(function, dict) else {}
        known = self._tools.setdefault(index, {"id": "", "name": "", "arguments": ""})
        id_, name, arguments = call.get("id"), function.get("name"), function.get("arguments")
        known["id"] = known["id"] or str(id_ or "")
        known["name"] = known["name"] or str(name or "")
        piece = arguments if isinstance(arguments, str) else ""
        known["arguments"] += piece
        return ToolCallDelta(index, id_, name, piece, at_ns)

    def _record_arrival(self, arrival: Arrival) -> None:
        at_ns = arrival.at_ns
        self.n_chunks += 1
        self.stamped_by_kernel = self.stamped_by_kernel and arrival.by_kernel
        if self.first_token_ns is None:
            self.first_token_ns = at_ns
            self.first_read_delay_ns = arrival.read_delay_ns
        elif self.last_token_ns is not None and at_ns - self.last_token_ns > self.max_gap_ns:
            self.max_gap_ns = at_ns - self.last_token_ns
        self.last_token_ns = at_ns

    @property
    def content(self) -> str:
        """The visible text so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._reasoning)

    @property
    def arguments(self) -> str:
        """The names and arguments of the function calls so far."""
        return "".join(call["name"] + call["arguments"] for call in self._tools.values())

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The function calls so far, in the order of their index."""
        return tuple(ToolCall(**call) for _, call in sorted(self._tools.items()))

    @property
    def has_tokens(self) -> bool:
        """Whether any token has arrived."""
        return self.first_token_ns is not None

    @property
    def output_is_counted(self) -> bool:
        """Whether no token has arrived since the server's last count: some send counts while they write."""
        return self._chunks_counted == self.n_chunks

    def seconds_to(self, instant_ns: int | None) -> float | None:
        """Return the seconds from sending the request to ``instant_ns``."""
        return None if instant_ns is None else (instant_ns - self.sent_ns) / 1e9


def _is_summary(delta: dict[str, Any]) -> bool:
    """Whether the reasoning of a chunk is a summary, which OpenRouter says for the models it relays."""
    details = delta.get("reasoning_details")
    return isinstance(details, list) and any(
        isinstance(detail, dict) and detail.get("type") == "reasoning.summary" for detail in details
    )
