"""Reads the events of the Responses API: https://developers.openai.com/api/reference/resources/responses.

A response is a list of items: reasoning, messages, function calls. They are told apart by their ``output_index``,
because some servers change the ids in each event, or else by their id, because others (llama.cpp) have no index. A part
whose deltas were not sent is read where it is complete.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from ipyllm.events import TextDelta
from ipyllm.logprobs import read_logprobs
from ipyllm.pipeline.accumulator import Accumulator
from ipyllm.pipeline.field_bounds import MAX_NAME, checked_parts

if TYPE_CHECKING:
    from ipyllm.events import Event
    from ipyllm.logprobs import TokenLogprob

__all__ = ["ResponsesAccumulator"]

_BREAK: Final = "\n\n"  # between two messages, or two parts of the reasoning
_REASONS: Final = {"max_output_tokens": "length"}


@dataclass(slots=True, eq=False)
class ResponsesAccumulator(Accumulator):
    """Accumulates the events of the Responses API, or one unstreamed response."""

    _begun_items: dict[int, dict[str, Any]] = field(default_factory=dict)
    _items: dict[int, dict[str, Any]] = field(default_factory=dict)
    _begun_parts: set[tuple[str, int, int]] = field(default_factory=set)
    _part: tuple[str, int, int] | None = None
    _text_item: int | None = None
    _calls: dict[int, int] = field(default_factory=dict)
    _indexes: dict[str, int] = field(default_factory=dict)
    _logprobs: dict[tuple[int, int], tuple[TokenLogprob, ...]] = field(default_factory=dict)  # by item and part

    def _read(self, chunk: dict[str, Any], at_ns: int) -> list[Event]:
        kind = chunk.get("type")
        reader = _READERS.get(kind) if isinstance(kind, str) else None
        if reader is not None:
            events: list[Event] = getattr(self, reader)(chunk, at_ns)
            return events
        if chunk.get("object") != "response":  # one of the many events that hold nothing of the answer
            return []
        self.streamed = False
        return self._end({"response": chunk}, at_ns)

    def _usage_in(self, chunk: dict[str, Any]) -> dict[str, Any] | None:
        response = chunk.get("response")
        usage = (response if isinstance(response, dict) else chunk).get("usage")
        return usage if isinstance(usage, dict) and usage else None

    # ---- parts -------------------------------------------------------------------------------------

    def _text_delta(self, chunk: dict[str, Any], at_ns: int) -> list[Event]:
        item, part = self._item_index(chunk), _part_index(chunk, "content_index")
        events = self._text_part(chunk.get("delta"), item, part, at_ns)
        if not self.reads_logprobs or not events:
            return events
        tokens = read_logprobs(chunk.get("logprobs"))
        self._logprobs[item, part] = self._logprobs.get((item, part), ()) + tokens
        return [replace(event, logprobs=tokens) if isinstance(event, TextDelta) else event for event in events]

    def _refusal_delta(self, chunk: dict[str, Any], at_ns: int) -> list[Event]:
        self.refused = True
        return [_refused(event) for event in self._text_delta(chunk, at_ns)]

    def _summary_delta(self, chunk: dict[str, Any], at_ns: int) -> list[Event]:
        return self._reasoning_part(
            chunk.get("delta"), "summary", self._item_index(chunk), _part_index(chunk, "summary_index"), at_ns
        )

    def _reasoning_delta(self, chunk: dict[str, Any], at_ns: int) -> list[Event]:
        return self._reasoning_part(
            chunk.get("delta"), "content", self._item_index(chunk), _part_index(chunk, "content_index"), at_ns
        )

    def _text_part(self, text: Any, item: int, part: int, at_ns: int) -> list[Event]:
        if not isinstance(text, str) or not text:
            return []
        self._begin("text", item, part)
        if self._text_item != item:
            if self._text_item is not None:
                text = _BREAK + text
            self._text_item = item
        return [self._add_text(text, at_ns)]

    def _reasoning_part(self, text: Any, kind: str, item: int, part: int, at_ns: int) -> list[Event]:
        if not isinstance(text, str) or not text:
            return []
        if kind == "summary":
            self.summarizes_reasoning = True
        if self._begin(kind, item, part) and self._reasoning:
            text = _BREAK + text
        return [self._add_reasoning(text, at_ns)]

    def _begin(self, kind: str, item: int, part: int) -> bool:
        """Note that a part has arrived, at least its beginning; return whether it had not before."""
        key = (kind, item, part)
        if key == self._part:  # the usual case, in one comparison
            return False
        self._part = key
        is_new = key not in self._begun_parts
        self._begun_parts.add(key)
        return is_new

    # ---- function calls ----------------------------------------------------------------------------

    def _arguments_delta(self, chunk: dict[str, Any], at_ns: int) -> list[Event]:
        return self._call_part(self._item_index(chunk), chunk.get("delta"), at_ns)

    def _arguments_done(self, chunk: dict[str, Any], at_ns: int) -> list[Event]:
        if ("arguments", self._item_index(chunk), 0) in self._begun_parts:
            return []
        return self._call_part(self._item_index(chunk), _as_text(chunk.get("arguments")), at_ns)

    def _call_part(self, item: int, arguments: Any, at_ns: int) -> list[Event]:
        if not isinstance(arguments, str) or not arguments:
            return []
        is_new = self._begin("arguments", item, 0)
        call = self._begun_items.get(item, {}) if is_new else {}
        return [self._add_call(self._call_index(item), call.get("call_id"), call.get("name"), arguments, at_ns)]

    def _call_index(self, item: int) -> int:
        """Return the number of a call among the calls."""
        return self._calls.setdefault(item, len(self._calls))

    # ---- items and the end -------------------------------------------------------------------------

    def _item_index(self, chunk: dict[str, Any]) -> int:
        index = chunk.get("output_index")
        if isinstance(index, int):
            return index
        item = chunk.get("item")
        item = item if isinstance(item, dict) else {}
        id_ = str(chunk.get("item_id") or item.get("id") or item.get("call_id"))
        return self._indexes.setdefault(id_, len(self._indexes))

    def _item_added(self, chunk: dict[str, Any], _: int) -> list[Event]:
        item = chunk.get("item")
        if isinstance(item, dict):  # a call's name and id; the rest may be incomplete
            self._begun_items[self._item_index(chunk)] = item
        return []

    def _item_done(self, chunk: dict[str, Any], at_ns: int) -> list[Event]:
        item = chunk.get("item")
        return self._whole_item(self._item_index(chunk), item, at_ns) if isinstance(item, dict) else []

    def _whole_item(self, index: int, item: dict[str, Any], at_ns: int) -> list[Event]:
        """Keep a complete item, and return the events of what was not sent in deltas."""
        self._items[index] = item
        events: list[Event] = []
        kind = item.get("type")
        if kind == "reasoning":
            for source in ("summary", "content"):
                for number, part in enumerate(_parts(item, source)):
                    if (source, index, number) not in self._begun_parts:
                        events += self._reasoning_part(part.get("text"), source, index, number, at_ns)
        elif kind == "message":
            for number, part in enumerate(_parts(item, "content")):
                self.refused = self.refused or bool(part.get("refusal"))
                if ("text", index, number) not in self._begun_parts:
                    said = self._text_part(part.get("text") or part.get("refusal"), index, number, at_ns)
                    events += said if part.get("text") else map(_refused, said)
                self._take_logprobs(index, number, part)
        elif kind == "function_call":
            arguments = "" if ("arguments", index, 0) in self._begun_parts else _as_text(item.get("arguments"))
            id_ = item.get("call_id") or item.get("id")
            call = self._add_call(self._call_index(index), id_, item.get("name"), arguments, at_ns)
            if self._begin("arguments", index, 0) or index not in self._begun_items:
                events.append(call)
        return events

    def _take_logprobs(self, index: int, number: int, part: dict[str, Any]) -> None:
        """Take the log probabilities of a whole part: with their bytes, which the deltas lack."""
        if self.reads_logprobs and (tokens := read_logprobs(part.get("logprobs"))):
            self._logprobs[index, number] = tokens

    @property
    def logprobs(self) -> tuple[TokenLogprob, ...]:
        """The tokens of the visible text so far, with their probabilities, if the call asked for them."""
        return tuple(token for _, tokens in sorted(self._logprobs.items()) for token in tokens)

    def _note(self, chunk: dict[str, Any], _: int) -> list[Event]:
        """Take what a response says of itself."""
        response = chunk.get("response")
        if isinstance(response, dict):
            self._take_names(response)
            changes = response.get("input_transformations")
            if isinstance(changes, list):
                self.removed_inputs = sum(isinstance(c, dict) and c.get("action") == "removed" for c in changes)
        return []

    def _end(self, chunk: dict[str, Any], at_ns: int) -> list[Event]:
        self._note(chunk, at_ns)
        response = chunk.get("response")
        response = response if isinstance(response, dict) else {}
        events: list[Event] = []
        if not self._items and isinstance(response.get("output"), list):  # not sent item by item
            checked_parts(response["output"], "parts of its answer")
            for index, item in enumerate(response["output"]):
                if isinstance(item, dict):
                    events += self._whole_item(index, item, at_ns)
        self.finish_reason = self._finish_reason(response, str(chunk.get("type", "")).removeprefix("response."))
        if self.finish_reason in {"stop", "tool_calls", "refusal"}:
            self.output_items = tuple(item for _, item in sorted(self._items.items()))
        return events

    def _finish_reason(self, response: dict[str, Any], event: str) -> str | None:
        """Return how the response ended, in the words of chat completions where these have one."""
        status = response.get("status") or event
        if status == "completed":
            if self.refused:
                return "refusal"
            return "tool_calls" if self._calls else "stop"
        if status == "incomplete":
            details = response.get("incomplete_details")
            reason = str((details.get("reason") if isinstance(details, dict) else None) or status)
            return _REASONS.get(reason, reason[:MAX_NAME])
        return None


_READERS: Final = {
    "response.created": "_note",
    "response.in_progress": "_note",
    "response.queued": "_note",
    "response.output_item.added": "_item_added",
    "response.output_item.done": "_item_done",
    "response.output_text.delta": "_text_delta",
    "response.refusal.delta": "_refusal_delta",
    "response.reasoning_summary_text.delta": "_summary_delta",
    "response.reasoning_text.delta": "_reasoning_delta",
    "response.function_call_arguments.delta": "_arguments_delta",
    "response.function_call_arguments.done": "_arguments_done",
    "response.completed": "_end",
    "response.incomplete": "_end",
    "response.failed": "_end",
}
"""The methods that read events, by type. The texts of other events are sent in these too."""


def _refused(event: Event) -> Event:
    return replace(event, refused=True) if isinstance(event, TextDelta) else event


def _part_index(chunk: dict[str, Any], name: str) -> int:
    index = chunk.get(name)
    return index if isinstance(index, int) else 0


def _parts(item: dict[str, Any], name: str) -> list[dict[str, Any]]:
    parts = item.get(name)
    if not isinstance(parts, list):
        return []
    checked_parts(parts, "parts of one item of its answer")
    return [part for part in parts if isinstance(part, dict)]


def _as_text(arguments: Any) -> str:
    """Return the arguments of a call as JSON text; some servers send an object."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json.dumps(arguments, ensure_ascii=False)
