"""The ledger row of an exchange, put part by part while it runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from ipyllm.pipeline import ledger_rows
from ipyllm.pipeline.sent_requests import request_to_store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ipyllm.pipeline.accumulator import Accumulator
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse

__all__ = ["ExchangeRow", "RowSink"]

_PUT_AFTER_S: Final = 0.004
"""Seconds that the first parts wait, which is as long as it takes to send a request."""


class RowSink(Protocol):
    """Takes ledger rows: the ledger, or the collector of a remote worker."""

    def put(self, row: Mapping[str, Any], /) -> None:
        """Take a row, or further columns of one, without waiting."""


class ExchangeRow:
    """The row of one exchange: begun and sent, then saved while text arrives, then finished.

    The first two parts are put a few milliseconds later, or with the next part: the thread that writes rows would wake
    and take the interpreter's lock at the very moment when the request is to be sent.
    """

    def __init__(self, call_id: str, request: ChatRequest, ledger: RowSink) -> None:
        self._call_id = call_id
        self._request = request
        self._ledger = ledger
        self._started_at: datetime | None = None  # until the first part is put
        self._body: Mapping[str, Any] | None = None  # until it is put
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, started_at: datetime) -> None:
        """Note when the exchange began."""
        self._started_at = started_at
        self._timer = asyncio.get_running_loop().call_later(_PUT_AFTER_S, self.put_waiting)

    def sent(self, body: Mapping[str, Any]) -> None:
        """Note the JSON that is sent."""
        self._body = body
        if self._timer is None:
            self.put_waiting()

    def put_waiting(self) -> None:
        """Put what was noted, if anything was."""
        if self._started_at is not None or self._body is not None:
            self._put({})

    def put_bound(self, bound_usd: float) -> None:
        """Put the most that the exchange can have cost so far, in case this process dies."""
        self._put({"cost_bound_usd": bound_usd})

    def save(self, received: Accumulator) -> None:
        """Put the text so far, so that little is lost when a kernel is killed."""
        self._put(ledger_rows.partial_row(self._call_id, received))

    def finish(self, response: ChatResponse, cost_bound_usd: float | None, address: str | None) -> None:
        """Put the last part; parameters as :func:`~ipyllm.pipeline.ledger_rows.final_row` has."""
        self._put(ledger_rows.final_row(self._call_id, response, cost_bound_usd, address))

    def _put(self, columns: Mapping[str, Any]) -> None:
        row: dict[str, Any] = {"call_id": self._call_id}
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._started_at is not None:
            row |= ledger_rows.opening_row(self._call_id, self._request, self._started_at)
            self._started_at = None
        if self._body is not None:
            conversation = self._request.provenance.conversation
            row["request"] = request_to_store(self._call_id, self._body, conversation, self._ledger)
            self._body = None
        self._ledger.put({**row, **columns})
