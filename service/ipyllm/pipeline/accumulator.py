"""Accumulates the chunks of one attempt, and converts each chunk to events.

What a chunk holds is read by one subclass for each API: :mod:`ipyllm.pipeline.chat_chunks` and
:mod:`ipyllm.pipeline.response_events`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ipyllm.events import Event, ReasoningDelta, TextDelta, ToolCallDelta
from ipyllm.pipeline.field_bounds import MAX_NAME, checked_id, checked_name, checked_parts
from ipyllm.response import ToolCall
from ipyllm.text.pieces import TextPieces
from ipyllm.text.surrogates import SurrogateJoiner
from ipyllm.transport.usage import counts_output, merge_usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipyllm.logprobs import TokenLogprob
    from ipyllm.transport.wire_times import Arrival

__all__ = ["Accumulator"]

_PACK_EVERY: Final = 64  # chunks: a piece of a few letters takes ten times its size


@dataclass(slots=True, eq=False)
class CallSoFar:
    """A function call so far: its id and name, empty if unknown, and its arguments, JSON text."""

    id: str = ""
    name: str = ""
    pieces: TextPieces = field(default_factory=TextPieces)

    @property
    def arguments(self) -> str:
        """The arguments so far."""
        return self.pieces.text()


@dataclass(slots=True, eq=False)
class Accumulator:
    """The text, tool calls, usage and arrival times of one response so far.

    ``output_items`` are the items of a complete response that its model wants back in later requests, and
    ``removed_inputs`` counts those of earlier responses that the server left out. ``failure`` is the finish reason of
    an answer that the server broke off. ``has_other_choices`` says that it sent several answers, of which one is kept.
    ``reads_logprobs`` says that the call asked for log probabilities: some servers send zeros to calls that did not.
    """

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
    refused: bool = False
    finish_reason: str | None = None
    raw_usage: dict[str, Any] | None = None
    response_model: str | None = None
    service_tier: str | None = None
    output_items: tuple[dict[str, Any], ...] = ()
    removed_inputs: int = 0
    failure: str | None = None
    has_other_choices: bool = False
    reads_logprobs: bool = False
    _text: TextPieces = field(default_factory=TextPieces)
    _reasoning: TextPieces = field(default_factory=TextPieces)
    _tools: dict[int, CallSoFar] = field(default_factory=dict)
    _chunks_counted: int = 0
    _text_halves: SurrogateJoiner = field(default_factory=SurrogateJoiner)
    _reasoning_halves: SurrogateJoiner = field(default_factory=SurrogateJoiner)
    _argument_halves: dict[int, SurrogateJoiner] = field(default_factory=dict)
    _holds_back: bool = False

    @property
    def has_begun(self) -> bool:
        """Whether an answer has begun, and not ended, though maybe without a token: servers send its role first."""
        return self.has_tokens

    def feed(self, chunk: dict[str, Any], arrival: Arrival, text: str | None = None) -> list[Event]:  # noqa: ARG002
        """Add one chunk and return its events; ``text`` is all there is to read in it, where that is known."""
        events = self._read(chunk, arrival.at_ns)
        if events:
            self._record_arrival(arrival)
        usage = self._usage_in(chunk)
        if usage is not None:
            self.raw_usage = merge_usage(self.raw_usage, usage)
            if counts_output(usage):
                self._chunks_counted = self.n_chunks
        return [event for event in events if not _is_empty(event)] if self._holds_back else events

    def close(self) -> list[Event]:
        """Return the events of what was held back, because it might have been part of something longer."""
        at_ns = self.last_token_ns
        if at_ns is None:
            return []
        events = list(self._rest(at_ns))
        if half := self._reasoning_halves.close():
            events.append(self._add_reasoning(half, at_ns))
        if half := self._text_halves.close():
            events.append(self._add_text(half, at_ns))
        for index, halves in self._argument_halves.items():
            if half := halves.close():
                events.append(self._add_call(index, None, None, half, at_ns))
        return events

    def _rest(self, at_ns: int) -> Iterable[Event]:  # noqa: ARG002 - of the APIs that hold something back
        return ()

    def _held_back(self, at_ns: int) -> ReasoningDelta:
        """Return an empty event for a chunk whose text is held back: it has arrived."""
        self._holds_back = True
        return ReasoningDelta("", at_ns)

    def _read(self, chunk: dict[str, Any], at_ns: int) -> list[Event]:
        """Take what one chunk holds, and return its events."""
        raise NotImplementedError

    def _take_names(self, response: dict[str, Any]) -> None:
        """Take the model that answers, and the tier that it is billed by."""
        if isinstance(response.get("model"), str):
            self.response_model = self.response_model or response["model"][:MAX_NAME]
        tier = response.get("service_tier")
        if isinstance(tier, str) and tier:
            self.service_tier = tier[:MAX_NAME]

    def _usage_in(self, chunk: dict[str, Any]) -> dict[str, Any] | None:
        """Return the usage that a chunk carries, if any."""
        raise NotImplementedError

    def _add_text(self, text: str, at_ns: int) -> TextDelta:
        if self.first_text_ns is None:
            self.first_text_ns = at_ns
        text = self._text_halves.feed(text)
        self._holds_back = self._holds_back or not text
        self._text.append(text)
        return TextDelta(text, at_ns)

    def _add_reasoning(self, text: str, at_ns: int) -> ReasoningDelta:
        if self.first_reasoning_ns is None:
            self.first_reasoning_ns = at_ns
        self.last_reasoning_ns = at_ns
        text = self._reasoning_halves.feed(text)
        self._holds_back = self._holds_back or not text
        self._reasoning.append(text)
        return ReasoningDelta(text, at_ns)

    def _add_call(self, index: int, id_: Any, name: Any, arguments: str, at_ns: int) -> ToolCallDelta:
        known = self._tools.get(index)
        if known is None:
            known = self._tools[index] = CallSoFar()
            checked_parts(self._tools, "function calls in one answer")
        # Some servers repeat them in every piece.
        id_, name = None if known.id else id_, None if known.name else name
        known.id = known.id or checked_id(id_, "a function call")
        known.name = known.name or checked_name(name, "a function")
        halves = self._argument_halves.get(index)
        if halves is not None or not arguments.isascii():
            halves = self._argument_halves.setdefault(index, SurrogateJoiner())
            arguments = halves.feed(arguments)
        known.pieces.append(arguments)
        return ToolCallDelta(index, id_, name, arguments, at_ns)

    def _record_arrival(self, arrival: Arrival) -> None:
        at_ns = arrival.at_ns
        self.n_chunks += 1
        if self.n_chunks % _PACK_EVERY == 0:
            self._pack()
        self.stamped_by_kernel = self.stamped_by_kernel and arrival.by_kernel
        if self.first_token_ns is None:
            self.first_token_ns = at_ns
            self.first_read_delay_ns = arrival.read_delay_ns
        elif self.last_token_ns is not None and at_ns - self.last_token_ns > self.max_gap_ns:
            self.max_gap_ns = at_ns - self.last_token_ns
        self.last_token_ns = at_ns

    def _pack(self) -> None:
        for pieces in (self._text, self._reasoning, *(call.pieces for call in self._tools.values())):
            pieces.pack()

    @property
    def content(self) -> str:
        """The visible text so far."""
        return self._text.text()

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return self._reasoning.text()

    def peek(self) -> tuple[str, str]:
        """Return content and reasoning so far, of which no copy is kept: the answer still grows."""
        return self._text.peek(), self._reasoning.peek()

    @property
    def logprobs(self) -> tuple[TokenLogprob, ...]:
        """The tokens of the visible text so far, with their probabilities, if the call asked for them."""
        return ()

    @property
    def arguments(self) -> str:
        """The names and arguments of the function calls so far."""
        return "".join(call.name + call.arguments for call in self._tools.values())

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The function calls so far, in the order of their index."""
        return tuple(ToolCall(call.id, call.name, call.arguments) for _, call in sorted(self._tools.items()))

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


def _is_empty(event: Event) -> bool:
    return isinstance(event, TextDelta | ReasoningDelta) and not event.text
