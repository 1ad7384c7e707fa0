"""The answers of a comparison as a DataFrame, and what to know before comparing their times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.response import ChatResponse
from ipyllm.services.local import LocalService

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from ipyllm.comparison.arms import Arm

__all__ = ["answers_table", "notes_on_times"]

_TIMES = (
    *("ttft_s", "ttfo_s", "thinking_s", "total_s", "output_tps"),
    *("queue_s", "send_delay_s", "client_lag_s"),
)
"""Columns that are attributes of the timing."""

_COUNTS = ("input_tokens", "output_tokens", "reasoning_tokens", "visible_tokens")
"""Columns that are attributes of the usage."""


def answers_table(arms: Sequence[Arm], responses: Sequence[ChatResponse | None], preferred: str | None) -> pd.DataFrame:
    """Return one row for every arm, as ``Comparison.to_dataframe`` describes; ``preferred`` is the vote's outcome."""
    import pandas as pd

    from ipyllm.dataframes.calls_frame import CallsFrame

    rows = pd.DataFrame([_row(arm, response, preferred) for arm, response in zip(arms, responses, strict=True)])
    rows["started_at"] = pd.to_datetime(rows["started_at"], utc=True)
    floats, counts = dict.fromkeys((*_TIMES, "cost_usd"), "float64"), dict.fromkeys(_COUNTS, "Int64")
    return CallsFrame(rows.astype({**floats, **counts, "streamed": "boolean"}))


def _row(arm: Arm, known: ChatResponse | None, preferred: str | None) -> dict[str, Any]:
    response = known or ChatResponse(status="running")
    return {
        "arm": arm.mark,
        "label": arm.label,
        "model": arm.request.model,
        "variant": arm.variant or None,
        "params": dict(arm.request.params),
        "status": response.status,
        "response": response.content,
        **{name: getattr(response.timing, name) for name in _TIMES},
        "total_s": response.timing.total_s or None,
        **{name: getattr(response.usage, name) for name in _COUNTS},
        "cost_usd": response.cost_usd,
        "usage_source": response.usage.source,
        "streamed": response.timing.streamed,
        "arrival_clock": response.timing.arrival_clock,
        "cold": response.cold,
        "cache_hit": response.cache_hit,
        "started_at": response.started_at,
        "finish_reason": response.finish_reason,
        "error_category": response.error_category,
        "cause": response.cause,
        "error_message": response.error_message,
        "preferred": preferred == arm.label if preferred is not None else None,
        "call_id": response.call_id or None,
    }


def notes_on_times(arms: Sequence[Arm], responses: Sequence[ChatResponse | None]) -> list[str]:
    """Return what to know before comparing the times of these arms, as sentences."""
    sentences = []
    if sum(arm.service.name == LocalService.name for arm in arms) > 1:
        sentences.append(
            "Embedded models answer at the same time here and share this machine's processor cores, so each takes "
            "longer than alone; an Experiment asks them one at a time."
        )
    if any(response is not None and (response.reasoning or response.usage.reasoning_tokens) for response in responses):
        sentences.append(
            "Some of these models reason before they answer, and not all of them show it: compare the times until the "
            "first words of the answer are shown, not those to the first token."
        )
    return sentences
