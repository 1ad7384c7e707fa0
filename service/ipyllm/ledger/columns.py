"""Tables of the ledger: their columns, in the order users see them, and the kind of each value.

The SQL tables, the conversion of values and the dtypes are derived from these. ``docs/ledger.md`` explains the columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CALLS",
    "COLUMNS",
    "CONVERSATIONS",
    "EXPERIMENTS",
    "FINAL",
    "NOTES",
    "PRIVATE",
    "TABLES",
    "TEXT",
    "VOTES",
    "Kind",
    "Row",
    "Table",
]

Row = dict[str, Any]
"""Some columns of a call or a vote, by name."""

Kind = Literal["text", "json", "time", "float", "int", "bool", "packed"]

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
    "address": "text",
    "machine": "text",
    "params": "json",
    "effort": "text",
    "verbosity": "text",
    "tags": "json",
    # place in an experiment
    "experiment": "text",
    "arm": "text",
    "variant": "text",
    "prompt_id": "text",
    "repeat": "int",
    "warmup": "bool",
    "concurrency": "int",
    "executor": "text",
    # outcome
    "status": "text",
    "finish_reason": "text",
    "step": "text",
    "refused": "bool",
    "error_category": "text",
    "cause": "text",
    "error_message": "text",
    # latency
    "queue_s": "float",
    "connect_s": "float",
    "send_delay_s": "float",
    "ttft_s": "float",
    "ttfo_s": "float",
    "thinking_s": "float",
    "e2e_s": "float",
    "stream_end_s": "float",
    "streamed": "bool",
    "tpot_s": "float",
    "output_tps": "float",
    "max_gap_s": "float",
    "n_chunks": "int",
    "client_lag_s": "float",
    "arrival_clock": "text",
    "attempts": "int",
    "broken_attempts": "int",
    "retry_wait_s": "float",
    "total_s": "float",
    "cold": "bool",
    "cache_hit": "bool",
    # tokens and cost
    "input_tokens": "int",
    "input_tokens_estimated": "int",
    "cached_tokens": "int",
    "cache_write_tokens": "int",
    "output_tokens": "int",
    "output_tokens_estimated": "int",
    "broken_output_tokens_estimated": "int",
    "reasoning_tokens": "int",
    "visible_tokens": "int",
    "usage_source": "text",
    "service_tier": "text",
    "cost_usd": "float",
    "cost_bound_usd": "float",
    "price_source": "text",
    # probabilities
    "mean_logprob": "float",
    "perplexity": "float",
    # what a person thinks of the answer
    "feedback": "text",
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
"""The process that writes the row, and its last write: they show whether the process of a running call has died."""

TEXT: Final = ("prompt", "response", "reasoning", "request", "logprobs", "contents", "draft", "grid", "scores")
"""Columns not stored with ``IPYLLM_STORE_TEXT=0``, and dropped first when memory runs short."""

FINAL: Final = frozenset({"ok", "truncated", "cancelled", "error", "interrupted"})
"""Statuses of calls that have ended."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One table: its name in SQL, the noun for a row in messages, and its columns.

    ``key`` is the column that identifies a row, ``time`` the column with the time of its start; users do not see
    ``private`` columns, and a query returns ``packed`` columns only where it asks for them.
    """

    name: str
    row_name: str
    key: str
    time: str
    columns: Mapping[str, Kind]
    private: Mapping[str, Kind]
    packed: Mapping[str, Kind] = field(default_factory=dict)
    writable: Mapping[str, Kind] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "writable", {**self.columns, **self.packed})


CALLS: Final = Table(
    "calls", "call", "call_id", "started_at", COLUMNS, PRIVATE, {"request": "packed", "logprobs": "packed"}
)

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
"""People's preferences. One row for each comparison: a later vote replaces the earlier one."""

CONVERSATIONS: Final = Table(
    "conversations",
    "conversation",
    "conversation_id",
    "saved_at",
    {
        "conversation_id": "text",
        "saved_at": "time",
        "kernel_id": "text",
        "place": "text",
        "name": "text",
        "draft": "text",
        "changed_at": "time",
    },
    {},
    {"contents": "packed"},
)
"""Conversations of notebooks and of users of the chat server, as last changed."""

NOTES: Final = Table(
    "notes",
    "note",
    "note_id",
    "written_at",
    {
        "note_id": "text",
        "written_at": "time",
        "kernel_id": "text",
        "origin": "text",
        "experiment": "text",
        "prompt_id": "text",
        "note": "text",
    },
    {},
)
"""People's notes on rows of experiments. One row for each prompt: a later note replaces the earlier one."""

EXPERIMENTS: Final = Table(
    "experiments",
    "experiment",
    "name",
    "changed_at",
    {
        "name": "text",
        "changed_at": "time",
        "started_at": "time",
        "kernel_id": "text",
        "arms": "json",
        "n_prompts": "int",
        "repeats": "int",
        "signature": "text",
        "data_hash": "text",
        "note": "text",
        "tags": "json",
    },
    {},
    {"grid": "packed", "scores": "packed"},
)
"""Experiments as they were last run, with what is needed to read their results again."""

TABLES: Final = (CALLS, VOTES, CONVERSATIONS, NOTES, EXPERIMENTS)
