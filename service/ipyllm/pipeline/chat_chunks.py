"""Reads the chunks of chat completions.

Servers differ: ``choices`` or ``delta`` may be missing or None, the last chunk may have no choices or repeat the whole
answer, text may be a list of parts, and usage may be missing.
"""

from __future__ import annotations

import secrets
from dataclasses import InitVar, dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from ipyllm.events import TextDelta
from ipyllm.logprobs import read_logprobs
from ipyllm.pipeline.accumulator import Accumulator
from ipyllm.pipeline.call_deltas import CallDeltas
from ipyllm.pipeline.field_bounds import MAX_NAME, ValueCounter, checked_parts
from ipyllm.pipeline.reasoning_details import ReasoningDetails
from ipyllm.pipeline.reasoning_tag import ReasoningTag
from ipyllm.provider import PLAIN_REASONING
from ipyllm.response import ToolCall
from ipyllm.text.pieces import TextPieces
from ipyllm.transport.usage import usage_in_chunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipyllm.events import Event
    from ipyllm.logprobs import TokenLogprob
    from ipyllm.provider import ReasoningFormat
    from ipyllm.transport.wire_times import Arrival

__all__ = ["ChatAccumulator"]

_FAILURES: Final = frozenset(
    {"error", "abort", "aborted", "insufficient_system_resource", "network_error", "server_error", "internal_error"}
)
"""Finish reasons of an answer that the server broke off: vLLM, SGLang, DeepSeek, Mistral, OpenRouter."""
_REASONS: Final = {"model_length": "length", "max_tokens": "length"}
_NO_ARGUMENTS: Final = frozenset({"", "null", "None"})
_MAX_DEPTH: Final = 4  # of text in lists of parts
_ID_CHARS: Final = 9  # Mistral takes ids of exactly nine letters and digits


@dataclass(slots=True, eq=False)
class ChatAccumulator(Accumulator):
    """Accumulates the chunks of chat completions, or one unstreamed completion.

    ``reasoning_format`` says whether the model writes reasoning into its text, and whether it wants it back.
    """

    reasoning_format: InitVar[ReasoningFormat] = PLAIN_REASONING
    _tag: ReasoningTag | None = None
    _reasoning_goes_back: bool = False
    _choice_index: Any = None
    _knows_choice: bool = False
    _expects_plain_text: bool = False
    _calls: CallDeltas = field(default_factory=CallDeltas)
    _own_ids: dict[int, str] = field(default_factory=dict)
    _extra_content: dict[int, dict[str, Any]] = field(default_factory=dict)
    _extra_values: ValueCounter = field(default_factory=lambda: ValueCounter("values beside its function calls"))
    _reasoning_details: ReasoningDetails = field(default_factory=ReasoningDetails)
    _logprobs: list[TokenLogprob] = field(default_factory=list)

    def __post_init__(self, reasoning_format: ReasoningFormat) -> None:
        if reasoning_format.tag:
            self._tag = ReasoningTag(reasoning_format.tag, is_opened=reasoning_format.is_opened)
        self._reasoning_goes_back = reasoning_format.goes_back

    def feed(self, chunk: dict[str, Any], arrival: Arrival, text: str | None = None) -> list[Event]:
        """Add one chunk and return its events."""
        if (
            text is None
            or not self._expects_plain_text
            or chunk["choices"][0].get("index", self._choice_index) != self._choice_index
            or chunk.get("service_tier", self.service_tier) != self.service_tier
        ):
            events = Accumulator.feed(self, chunk, arrival)  # no super(): slots make another class of this one
            # Text has begun that is neither searched for a tag nor cut within a character, of a known model.
            self._expects_plain_text = (
                not self.reads_logprobs
                and self.first_text_ns is not None
                and self.response_model is not None
                and (self._tag is None or self._tag.is_done)
                and not self._text_halves.has_half
            )
            return events
        self._record_arrival(arrival)
        self._text.append(text)
        return [TextDelta(text, arrival.at_ns)]

    @property
    def has_begun(self) -> bool:
        """As in the base class."""
        return self._knows_choice and self.finish_reason is None and self.failure is None

    def _read(self, chunk: dict[str, Any], at_ns: int) -> list[Event]:
        self._take_names(chunk)
        choices = chunk.get("choices")
        choice = self._own_choice(choices) if isinstance(choices, list) and choices else None
        if choice is None:
            return []
        self._read_reason(choice)
        delta, message = choice.get("delta"), choice.get("message")
        events = list(self._events(delta, at_ns)) if delta and isinstance(delta, dict) else []
        if not events and message and isinstance(message, dict):
            events = list(self._events(self._without_known(message), at_ns))
            self.streamed = self.streamed and self.has_tokens
        return self._with_logprobs(events, choice) if self.reads_logprobs else events

    def _with_logprobs(self, events: list[Event], choice: dict[str, Any]) -> list[Event]:
        """Take the log probabilities beside a text, which come with its last event; not those of reasoning."""
        if not events or not isinstance(events[-1], TextDelta):
            return events
        beside = choice.get("logprobs")
        beside = beside if isinstance(beside, dict) else {}
        tokens = read_logprobs(beside.get("content") or beside.get("refusal"))
        self._logprobs += tokens
        return [*events[:-1], replace(events[-1], logprobs=tokens)]

    @property
    def logprobs(self) -> tuple[TokenLogprob, ...]:
        """The tokens of the visible text so far, with their probabilities, if the call asked for them."""
        return tuple(self._logprobs)

    def _own_choice(self, choices: list[Any]) -> dict[str, Any] | None:
        """Return the choice with the index that came first; other answers to the same question are left out."""
        if not self._knows_choice:
            choice = next((choice for choice in choices if isinstance(choice, dict)), None)
            if choice is not None:
                self._knows_choice, self._choice_index = True, choice.get("index")
            self.has_other_choices = len(choices) > 1
            return choice
        own = self._choice_index
        if len(choices) == 1 and isinstance(choices[0], dict) and choices[0].get("index", own) == own:
            return choices[0]
        kept = [choice for choice in choices if isinstance(choice, dict) and choice.get("index", own) == own]
        self.has_other_choices = self.has_other_choices or len(choices) > len(kept)
        return kept[0] if kept else None

    def _read_reason(self, choice: dict[str, Any]) -> None:
        reason, native = choice.get("finish_reason"), choice.get("native_finish_reason")
        if isinstance(reason, str) and reason:
            self.finish_reason = _REASONS.get(reason, reason[:MAX_NAME])
        for each in (reason, native):
            if isinstance(each, str) and each.lower() in _FAILURES:
                self.failure = each

    def _usage_in(self, chunk: dict[str, Any]) -> dict[str, Any] | None:
        return usage_in_chunk(chunk)

    def _without_known(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return what of a whole message has not come in deltas: some servers send both."""
        known = {
            "content": self._text,
            "refusal": self._text,
            "reasoning": self._reasoning,
            "reasoning_content": self._reasoning,
            "reasoning_details": self._reasoning_details,
            "tool_calls": self._tools,
        }
        return {name: value for name, value in message.items() if not known.get(name)}

    def _events(self, delta: dict[str, Any], at_ns: int) -> Iterator[Event]:
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if reasoning:
            self.summarizes_reasoning = self.summarizes_reasoning or _is_summary(delta)
            if self._tag is not None and self._tag.is_opened:
                self._tag = None  # the server has separated the reasoning itself
            if text := reasoning if isinstance(reasoning, str) else _text_in(reasoning):
                yield self._add_reasoning(text, at_ns)
        content = delta.get("content")
        if content and isinstance(content, str):
            yield from self._visible(content, at_ns)
        elif content:
            for is_reasoning, texts in groupby(_parts(content), key=itemgetter(0)):
                text = "".join(text for _, text in texts)
                yield from ((self._add_reasoning(text, at_ns),) if is_reasoning else self._visible(text, at_ns))
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self.refused = True
            yield replace(self._add_text(refusal, at_ns), refused=True)
        calls = delta.get("tool_calls")
        if calls and isinstance(calls, list):
            yield from self._call_events(calls, at_ns)
        details = delta.get("reasoning_details")
        if details and isinstance(details, list):
            checked_parts(details, "details of its reasoning at once")
            self._reasoning_details.add(details)

    def _visible(self, text: str, at_ns: int) -> Iterator[Event]:
        tag = self._tag
        if tag is None or tag.is_done:
            yield self._add_text(text, at_ns)
            return
        reasoning, visible = tag.feed(text)
        if reasoning:
            yield self._add_reasoning(reasoning, at_ns)
        if visible:
            yield self._add_text(visible, at_ns)
        if not (reasoning or visible):  # a tag is a token too
            yield self._held_back(at_ns)

    def _call_events(self, calls: list[Any], at_ns: int) -> Iterator[Event]:
        checked_parts(calls, "pieces of function calls at once")
        for position, call in enumerate(calls):
            if isinstance(call, dict):
                slot, id_, name, arguments = self._calls.read(call, position)
                extra = call.get("extra_content")
                if isinstance(extra, dict) and extra:
                    self._extra_values.add(extra)
                    self._extra_content[slot] = extra
                yield self._add_call(slot, id_, name, arguments, at_ns)

    def _rest(self, at_ns: int) -> Iterator[Event]:
        if self._tag is not None:
            reasoning, text = self._tag.close()
            if reasoning:
                yield self._add_reasoning(reasoning, at_ns)
            if text:
                yield self._add_text(text, at_ns)
            if self._tag.is_opened and self._tag.is_inside and self._reasoning and self.finish_reason == "stop":
                yield self._all_is_text(at_ns)
        if self._tools or (self._reasoning_goes_back and self._reasoning):
            fields = self._fields_to_send_back()
            self.output_items = (fields,) if len(fields) > 1 else ()

    def _all_is_text(self, at_ns: int) -> Event:
        """Take as text what was taken as reasoning: the model has answered without any."""
        text, self._reasoning = self.reasoning, TextPieces()
        self.first_text_ns = self.first_reasoning_ns
        self.first_reasoning_ns = self.last_reasoning_ns = None
        return self._add_text(text, at_ns)

    def _fields_to_send_back(self) -> dict[str, Any]:
        """Return what the server wants back, unchanged, in the message of this answer."""
        fields: dict[str, Any] = {"type": "chat_fields"}
        if self._reasoning_goes_back and self._reasoning:
            fields["reasoning_content"] = self.reasoning
        if self._reasoning_details:
            fields["reasoning_details"] = self._reasoning_details.joined()
        ids = [call.id for call in self.tool_calls]
        extra = {ids[n]: self._extra_content[slot] for n, slot in enumerate(self._tools) if slot in self._extra_content}
        return fields | ({"extra_content": extra} if extra else {})

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The function calls so far: each with an id of its own, and arguments that are JSON."""
        calls: list[ToolCall] = []
        taken: set[str] = set()
        for slot, call in self._tools.items():
            id_ = call.id
            if not id_ or id_ in taken:
                id_ = self._own_ids.setdefault(slot, secrets.token_hex(_ID_CHARS)[:_ID_CHARS])
            taken.add(id_)
            arguments = call.arguments
            if arguments.strip() in _NO_ARGUMENTS:
                arguments = "{}"
            calls.append(ToolCall(id_, call.name, arguments))
        return tuple(calls)


def _parts(content: Any) -> Iterator[tuple[bool, str]]:
    """Yield the texts of a list of parts, each with whether it is reasoning, as Mistral sends them."""
    parts = content if isinstance(content, list) else [content]
    checked_parts(parts, "parts of its text at once")
    for part in parts:
        is_reasoning = isinstance(part, dict) and part.get("type") in {"thinking", "reasoning"}
        text = _text_in(part)
        if text:
            yield is_reasoning, text


def _text_in(value: Any, depth: int = 0) -> str:
    """Return the text of a part, or of a list of parts."""
    if isinstance(value, str):
        return value
    if depth >= _MAX_DEPTH:
        return ""
    if isinstance(value, list):
        return "".join(_text_in(item, depth + 1) for item in value)
    if isinstance(value, dict):
        found = (value[name] for name in ("text", "thinking", "reasoning", "content", "value") if value.get(name))
        return _text_in(next(found, ""), depth + 1)
    return ""


def _is_summary(delta: dict[str, Any]) -> bool:
    """Whether the reasoning of a chunk is a summary, which OpenRouter says for the models it relays."""
    details = delta.get("reasoning_details")
    return isinstance(details, list) and any(
        isinstance(detail, dict) and detail.get("type") == "reasoning.summary" for detail in details
    )
