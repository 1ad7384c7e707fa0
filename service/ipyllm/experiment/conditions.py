"""Conditions under which calls were measured: times are compared, and shown together, only where they are the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ipyllm.dataframes.conditions import CONDITIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = ["Conditions", "LatestRun", "with_conditions"]

_TIMES: Final = (
    *("queue_s", "connect_s", "send_delay_s", "ttft_s", "ttfo_s", "thinking_s", "e2e_s", "stream_end_s", "tpot_s"),
    *("output_tps", "max_gap_s", "client_lag_s", "retry_wait_s", "total_s"),
)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What changes times and is no part of an arm: the columns of the ledger of these names."""

    concurrency: int
    executor: str | None
    machine: str


@dataclass(frozen=True, slots=True)
class LatestRun:
    """The latest run of an experiment in this kernel."""

    done_before: frozenset[str]  # keys of trials
    asked: frozenset[str]  # labels of arms
    conditions: Mapping[str, Conditions]  # by label
    in_words: str  # how many calls were done before, and under which conditions; empty if none


def with_conditions(
    calls: pd.DataFrame, latest: LatestRun | None, concurrency: Mapping[str, int] | None
) -> pd.DataFrame:
    """Return calls with the flag ``other_conditions``, and without the times of those that it marks.

    The conditions are those of the latest run, for the arms that it asked something. For the others, they are the
    ``concurrency`` of the experiment, if one is known, and otherwise those of the latest call of the arm.
    """
    differ = calls["warmup"] & False
    for label, rows in calls[["arm", "warmup", "started_at", *CONDITIONS]].groupby("arm", observed=True):
        measured = rows[~rows["warmup"]].sort_values("started_at", kind="stable")
        if measured.empty:
            continue
        wanted = {name: measured[name].iloc[-1] for name in CONDITIONS}
        if concurrency is not None:
            wanted["concurrency"] = concurrency[str(label)]
        if latest is not None and str(label) in latest.asked:
            run = latest.conditions[str(label)]
            wanted = {"concurrency": run.concurrency, "executor": run.executor, "machine": run.machine}
        if isinstance(wanted["executor"], str):  # its workers may run on any machine
            wanted.pop("machine")
        for name, value in wanted.items():
            differ[rows.index] |= ~_is(rows[name], value)
    times = {name: calls[name].mask(differ) for name in _TIMES if name in calls} if differ.any() else {}
    return calls.assign(other_conditions=differ, **times)


def _is(column: pd.Series[Any], value: Any) -> pd.Series[bool]:
    import pandas as pd

    return column.isna() if pd.isna(value) else (column == value).fillna(value=False).astype(bool)
