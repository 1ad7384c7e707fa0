"""``%llm_usage``: the ledger as a readable table, a summary by any of its columns, a file; and the totals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipyllm.text.format import count
from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from ipyllm_magics.command_line.parser import Parsed

__all__ = ["export", "select_calls", "table", "totals"]

_COLUMNS = [
    "started_at", "model", "status", "ttft_s", "total_s", "input_tokens", "input_tokens_estimated", "output_tokens",
    "output_tokens_estimated", "output_tps", "cost_usd", "prompt", "response",
]  # fmt: skip
_ESTIMATES = ("input_tokens_estimated", "output_tokens_estimated")
_OUTCOMES = ["error_category", "error_message"]


def select_calls(parsed: Parsed, cells: set[str] | None) -> pd.DataFrame:
    """Return the calls that the options select, with all columns; ``--notebook`` gives the ids of its cells."""
    from ipyllm import usage

    conditions: Mapping[str, Any] = {
        "since": parsed["since"],
        "until": parsed["until"],
        "model": _full_names(parsed["models"]),
        "status": parsed["status"],
        "tags": dict(parsed["tags"] or ()),
    }
    try:
        if cells is not None:
            everything = usage(kernel=None, **conditions)
            calls = everything[everything["kernel_id"].isin(_kernels_of(cells))]
            calls = calls if parsed["last"] is None else calls.tail(parsed["last"])
            return calls.reset_index(drop=True)
        return usage(kernel=None if parsed["all"] else "current", limit=parsed["last"], **conditions)
    except ValueError as exc:
        raise MagicError(f"%llm_usage: {exc}") from None


def _full_names(names: list[str] | None) -> list[str] | None:
    """Replace aliases by the names that the ledger stores."""
    from ipyllm.settings import get_settings

    aliases = get_settings().aliases
    return [aliases.get(name, name) for name in names] if names else None


def _kernels_of(cells: set[str]) -> set[str]:
    """Return the kernels that ran one of these cells, including this one: cells outlive the kernels of a notebook."""
    from ipyllm import usage
    from ipyllm.ledger.ids import kernel_ids

    known = usage(kernel=None, text=False)[["kernel_id", "cell_id"]]
    own_cells = set(known.loc[known["kernel_id"].isin(kernel_ids()), "cell_id"].dropna())
    return {*kernel_ids(), *known.loc[known["cell_id"].isin(cells | own_cells), "kernel_id"]}


def table(frame: pd.DataFrame, *, by: str | None, full: bool) -> pd.DataFrame:
    """Return the most useful columns, all of them, or a summary with one row for each value of ``by``."""
    from datetime import datetime

    from ipyllm import summarise

    if by is None:
        return frame if full else frame[_columns(frame)]
    names = [name.strip() for name in by.split(",")]
    if "day" in names:  # of the local time zone, not of UTC
        zone = datetime.now().astimezone().tzinfo
        frame = frame.assign(day=frame["started_at"].dt.tz_convert(zone).dt.date)
    try:
        return summarise(frame, by=names)
    except ValueError as exc:
        raise MagicError(str(exc)) from None


def _columns(frame: pd.DataFrame) -> list[str]:
    """Return the most useful columns: with times to compare where a model reasons, and errors where there are any.

    Examples
    --------
    >>> import pandas as pd
    >>> calls = pd.DataFrame({"reasoning_tokens": [0, 500], "ttfo_s": [0.2, 1.2]}).reindex(
    ...     columns=[
    ...         "reasoning_tokens", "ttfo_s", "input_tokens_estimated", "output_tokens_estimated", "error_category",
    ...     ]
    ... )
    >>> _columns(calls)[3:6], _columns(calls[:1])[3:5]
    (['ttft_s', 'thinking_s', 'ttfo_s'], ['ttft_s', 'total_s'])
    """
    from ipyllm.dataframes.reasoning import first_time, reasoned

    shown = [name for name in _COLUMNS if name not in _ESTIMATES or frame[name].any()]
    if first_time(reasoned(frame), frame["ttfo_s"]) == "ttfo_s":
        after = shown.index("ttft_s") + 1
        shown[after:after] = ["thinking_s", "ttfo_s"]
    if frame["error_category"].notna().any():
        after = shown.index("status") + 1
        shown[after:after] = _OUTCOMES
    return shown


def totals(frame: pd.DataFrame) -> str:
    """Return the totals of the calls in one line, which says how many are not in the sums.

    Examples
    --------
    >>> import pandas as pd
    >>> totals(pd.DataFrame({"status": ["ok", "error"], "input_tokens": [10, None], "output_tokens": [5, None],
    ...     "cost_usd": [0.01, None], "usage_source": ["server", None]}))
    '2 calls · 1 failed · ≥ 10 → 5 tokens, 1 of 2 not counted · cost ≥ $0.01, 1 of 2 unknown'
    """
    from ipyllm.dataframes.call_totals import cost_total, token_total
    from ipyllm.dataframes.never_sent import never_sent

    if frame.empty:
        return "No calls."
    unsent = never_sent(frame)
    n_unsent = int(unsent.sum())
    frame = frame[~unsent]
    failed = int(frame["status"].isin(["error", "truncated"]).sum())
    return " · ".join(
        [
            count(len(frame), "call"),
            *([f"{failed} failed"] if failed else []),
            *([f"{n_unsent} not sent"] if n_unsent else []),
            str(token_total(frame)),
            cost_total(frame).sentence,
        ]
    )


def export(frame: pd.DataFrame, path: str, kind: str) -> str:
    """Write the calls to a ``csv`` or ``parquet`` file; return a sentence about it."""
    target = Path(path).expanduser()
    flat = frame.copy()
    for name in ("params", "tags"):
        if name in flat.columns:
            flat[name] = [json.dumps(value, ensure_ascii=False) if value is not None else None for value in flat[name]]
    write = flat.to_csv if kind == "csv" else flat.to_parquet
    try:
        write(target, index=flat.index.name is not None)
    except ImportError:
        raise MagicError('Parquet needs pyarrow: pip install "ipyllm[tables]"; or use --csv.') from None
    except OSError as exc:
        raise MagicError(f"{target} cannot be written: {exc.strerror or exc}.") from None
    return f"Wrote {count(len(flat), 'row')} to {target}."
