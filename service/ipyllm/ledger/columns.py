"""The tables of the ledger and their columns, in the order users see them, and the kind of value each one holds.

The only place that names them all: the tables, the cleaning of values and the dtypes follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CALLS", "COLUMNS", "FINAL", "PRIVATE", "TABLES", "TEXT", "VOTES", "Kind", "Row", "Table"]

Row = dict[str, Any]
"""What is known of a call, or of a vote: some of its columns, by name."""

Kind = Literal["text", "json", "time", "float", "int", "bool"]

COLUMNS: Final[dict[str, Kind]] = {
    # who and where
    "call_id": "text",
    "started_at": "time",
    "kernel_id": "text",
    "cell_id": "text",
    "conversation": "text",
    "origin": "text",
    "service": "text",
    "model": "text",
    "response_model": "text",
    "endpoint": "text",
    "params": "json",
    "tags": "json",
    # its place in an experiment
    "experiment": "text",
    "arm": "text",
    "prompt_id": "text",
    "repeat": "int",
    "warmup": "bool",
    # outcome
    "status": "text",
    "finish_reason": "text",
    "error_category": "text",
    "error_message": "text",
    # latency
    "queue_s": "float",
    "ttft_s": "float",
    "ttfo_s": "float",
    "e2e_s": "float",
    "stream_end_s": "float",
    "tpot_s": "float",
    "output_tps": "float",
    "max_gap_s": "float",
    "n_chunks": "int",
    "client_lag_s": "float",
    "attempts": "int",
    "retry_wait_s": "float",
    "total_s": "float",
    "cold": "bool",
    "cache_hit": "bool",
    # tokens and cost
    "input_tokens": "int",
    "cached_tokens": "int",
    "output_tokens": "int",
    "reasoning_tokens": "int",
    "usage_source": "text",
    "cost_usd": "float",
    "price_source": "text",
    # text
    "prompt": "text",
    "response": "text",
    "reasoning": "text",
}

PRIVATE: Final[dict[str, Kind]] = {
    "writer_host": "text",
    "writer_pid": "int",
    "writer_start": "float",
    "updated_at": "time",
}
"""Who writes the row and when it last did, to tell a call that runs from one whose process died."""

TEXT: Final = ("prompt", "response", "reasoning")
"""What was said: not stored with ``IPYLLM_STORE_TEXT=0``, and the first to go when memory runs short."""

FINAL: Final = frozenset({"ok", "truncated", "cancelled", "error", "interrupted"})
"""Statuses after which nothing more is expected."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One table: what its rows are, by what they are told apart, and when each began."""

    name: str
    row: str
    key: str
    moment: str
    columns: Mapping[str, Kind]
    private: Mapping[str, Kind]


CALLS: Final = Table("calls", "call", "call_id", "started_at", COLUMNS, PRIVATE)

VOTES: Final = Table(
    "votes",
    "vote",
    "comparison",
    "cast_at",
    {
        "vote_id": "text",
        "cast_at": "time",
        "kernel_id": "text",
        "origin": "text",
        "comparison": "text",
        "prompt": "text",
        "arms": "json",
        "outcome": "text",
        "blind": "bool",
        "tags": "json",
    },
    {},
)
"""What people preferred. One row for each comparison: whoever votes again has thought better of it."""

TABLES: Final = (CALLS, VOTES)
