"""Tool calls of past answers, read from the requests that sent their results to the model."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ipyllm.ledger.packed import unpack
from ipyllm.observability.logs import log_failure
from ipyllm.pipeline.stored_responses import rows_by_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ipyllm.conversations.transcript import Turn
    from ipyllm.ledger.ledger import Ledger

__all__ = ["StoredToolCall", "stored_tool_calls"]

_logger = logging.getLogger("ipyllm.conversations")
_COLUMNS: Final = frozenset({"call_id", "request", "step"})


@dataclass(frozen=True, slots=True)
class StoredToolCall:
    """A function call of a past answer. ``output`` is what the model was sent; None if it was sent nothing."""

    id: str
    name: str
    arguments: str
    output: str | None


def stored_tool_calls(
    turns: Iterable[Turn], *, ledger: Ledger | None = None
) -> dict[str, tuple[StoredToolCall, ...] | None]:
    """Return the tool calls of the answers that took several requests, by the id of the last.

    None where the ledger does not have them: their texts were not stored, or were deleted.

    Parameters
    ----------
    turns : iterable of Turn
        Turns of conversations.
    ledger : Ledger, optional
        By default the current one.

    Examples
    --------
    >>> from ipyllm.conversations.transcript import Turn
    >>> from ipyllm.ledger import Ledger
    >>> call = {"id": "c1", "function": {"name": "add", "arguments": "{}"}}
    >>> sent = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": "3"}]
    >>> with Ledger("sqlite://") as ledger:
    ...     ledger.put({"call_id": "01", "step": "tools", "request": {"body": {"messages": []}}})
    ...     ledger.put({"call_id": "02", "request": {"body": {"messages": sent}, "after": "01", "shared": 0}})
    ...     stored_tool_calls([Turn(call_id="02", step_ids=["01"])], ledger=ledger)["02"]
    (StoredToolCall(id='c1', name='add', arguments='{}', output='3'),)
    """
    asked = {turn.call_id: (*turn.step_ids, turn.call_id) for turn in turns if turn.call_id and turn.step_ids}
    rows = rows_by_id([each for ids in asked.values() for each in ids], _COLUMNS, ledger)
    return {call_id: _calls([rows.get(each) for each in ids]) for call_id, ids in asked.items()}


def _calls(rows: Sequence[Mapping[str, Any] | None]) -> tuple[StoredToolCall, ...] | None:
    """Return the tool calls in the requests of one turn, the first request first."""
    known = [row for row in rows if row is not None]
    if len(known) < len(rows) or any(row["request"] is None for row in known):
        has_tools = len(known) < len(rows) or any(row["step"] == "tools" for row in known)
        return None if has_tools else ()  # other steps are answers that did not fit a schema
    try:
        messages = _added([unpack(row["request"]) for row in known])
        outputs = defaultdict[str, list[str]](list)  # some servers give calls of several rounds the same id
        for call_id, output in _outputs(messages):
            outputs[call_id].append(output if isinstance(output, str) else str(output))
        return tuple(
            StoredToolCall(call_id, str(name), str(arguments), outputs[call_id].pop(0) if outputs[call_id] else None)
            for call_id, name, arguments in _called(messages)
        )
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        log_failure(_logger, f"the requests before call {known[-1]['call_id']} are damaged", exc)
        return None


def _added(requests: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Return the messages of the last request that the first does not have: the tool calls of earlier turns are there.

    A request may be stored without the messages that one before it has: see :mod:`ipyllm.pipeline.sent_requests`.
    """
    added: list[Any] = []
    beginning: int | None = None  # number of messages of the first
    for request in requests:
        body, start = request["body"], request.get("shared", 0)
        messages = body["messages" if "messages" in body else "input"]
        if beginning is None:
            beginning = start + len(messages)
        else:
            added = [*added[: max(0, start - beginning)], *messages[max(0, beginning - start) :]]
    return added


def _called(messages: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Yield id, name and arguments of each call, in the shapes of both APIs."""
    for message in messages:
        if message.get("type") == "function_call":
            yield message["call_id"], message["name"], message["arguments"]
        for call in message.get("tool_calls") or ():
            yield call["id"], call["function"]["name"], call["function"]["arguments"]


def _outputs(messages: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the id of each call that was answered, and its result."""
    for message in messages:
        if message.get("type") == "function_call_output":
            yield message["call_id"], message["output"]
        elif message.get("role") == "tool":
            yield message["tool_call_id"], message["content"]
