"""Responses read from the rows of their calls: for front ends that show a conversation again, and for scorers."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final, get_args

from ipyllm.ledger.columns import CALLS
from ipyllm.ledger.current import current_ledger
from ipyllm.ledger.query import Query
from ipyllm.logprobs import from_plain
from ipyllm.observability.logs import log_failure
from ipyllm.response import ChatResponse, Status, Usage
from ipyllm.runtime.process_exit import is_exiting
from ipyllm.text.format import shorten
from ipyllm.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipyllm.conversations.transcript import Turn
    from ipyllm.ledger.ledger import Ledger
    from ipyllm.logprobs import TokenLogprob

__all__ = ["interrupted_by_exit", "response_to", "response_values", "rows_by_id", "stored_responses"]

_logger = logging.getLogger("ipyllm.conversations")
_IDS_AT_ONCE: Final = 10_000  # SQLite takes 32,766 values in one query
_USAGE: Final = [each.name for each in fields(Usage) if each.name != "source"]
_TIMING: Final = [each.name for each in fields(Timing)]
_SAME_NAME: Final = [
    each.name
    for each in fields(ChatResponse)
    if each.name not in {"content", "usage", "timing", "tool_calls", "tool_results", "steps"}
]
_OUTCOME: Final = ("status", "error_category", "error_message")
_COLUMNS: Final = frozenset(CALLS.writable) & {"response", "usage_source", *_USAGE, *_TIMING, *_SAME_NAME}


def stored_responses(turns: Iterable[Turn], *, ledger: Ledger | None = None) -> dict[str, ChatResponse]:
    """Return what the ledger knows of the calls that answered turns: their responses, by the id of the last call.

    They have no tool calls and no results of tools. Turns whose calls the ledger does not have are left out.

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
    >>> with Ledger("sqlite://") as ledger:
    ...     ledger.put({"call_id": "01", "model": "lab/m", "status": "ok", "finish_reason": "length"})
    ...     stored_responses([Turn(call_id="01"), Turn(call_id="02")], ledger=ledger)["01"].finish_reason
    'length'
    """
    asked = [turn for turn in turns if turn.call_id]
    ids = [call_id for turn in asked for call_id in (*turn.step_ids, turn.call_id) if call_id]
    found = {call_id: _response(values) for call_id, values in rows_by_id(ids, _COLUMNS, ledger).items()}
    return {turn.call_id: _with_steps(turn, found) for turn in asked if turn.call_id and turn.call_id in found}


def rows_by_id(ids: Sequence[str], columns: frozenset[str], ledger: Ledger | None) -> dict[str, dict[str, Any]]:
    """Return the values of calls by column, by the calls' ids; ``ledger`` is by default the current one."""
    rows: dict[str, dict[str, Any]] = {}
    for start in range(0, len(ids), _IDS_AT_ONCE):
        query = Query(call_ids=tuple(ids[start : start + _IDS_AT_ONCE]), only=columns, packed=True)
        for row in (ledger or current_ledger()).read(query):
            values = dict(zip(query.columns, row, strict=True))
            rows[values["call_id"]] = values
    return rows


def response_to(turn: Turn, stored: Mapping[str, ChatResponse]) -> ChatResponse:
    """Return the response that answered a turn: the stored one, or what the turn itself says of it.

    A status that we do not know, of a changed file or a newer version, is an error.

    Examples
    --------
    >>> from ipyllm.conversations.transcript import Turn
    >>> response_to(Turn(model="lab/m", status="cancelled"), {}).status
    'cancelled'
    """
    known = stored.get(turn.call_id or "")
    if known is not None and known.status == "cancelled" and turn.status == "interrupted":
        return _interrupted(known)
    if known is not None:
        return known
    return ChatResponse(model=turn.model or "", **_ended({"status": turn.status}))


def interrupted_by_exit(response: ChatResponse) -> ChatResponse:
    """Return a response that was cancelled while this process exits, so not by the user, as one that says so."""
    return _interrupted(response) if response.status == "cancelled" and is_exiting() else response


def _interrupted(response: ChatResponse) -> ChatResponse:
    return replace(response, status="interrupted", error_category=None, error_message=None)


def _ended(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a call ended, from values of which ``status`` is one."""
    if "status" not in known or known["status"] in get_args(Status):
        return _of(known, _OUTCOME)
    error = f"How this answer ended is not known: its status is {shorten(str(known['status']), 40)!r}."
    return {"error_category": "unknown_error", "error_message": error, **_of(known, _OUTCOME), "status": "error"}


def _with_steps(turn: Turn, found: Mapping[str, ChatResponse]) -> ChatResponse:
    response = found[turn.call_id or ""]
    if not turn.step_ids:
        return response
    unknown = ChatResponse()  # its tokens and cost are unknown, and the sums say so
    return replace(response, steps=(*(found.get(step, unknown) for step in turn.step_ids), response))


def response_values(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a response is made of, from a row of the ledger; what is missing or null is left out.

    Examples
    --------
    >>> response_values({"response": "4", "output_tokens": 1, "cost_usd": None})["usage"].output_tokens
    1
    """
    known = {name: value for name, value in call.items() if value is not None}
    return {
        "content": known.get("response", ""),
        "usage": Usage(source=known.get("usage_source"), **_of(known, _USAGE)),
        "timing": Timing(**_of(known, _TIMING)),
        **_of(known, _SAME_NAME),
        **_ended(known),
    }


def _of(known: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: known[name] for name in names if name in known}


def _response(row: Mapping[str, Any]) -> ChatResponse:
    return ChatResponse(**response_values({**row, "logprobs": _logprobs(row)}))


def _logprobs(row: Mapping[str, Any]) -> tuple[TokenLogprob, ...]:
    if row["logprobs"] is None:
        return ()
    from ipyllm.ledger.packed import unpack

    try:
        return from_plain(unpack(row["logprobs"]))
    except (ValueError, TypeError) as exc:
        log_failure(_logger, f"the log probabilities of call {row['call_id']} are damaged", exc)
        return ()
