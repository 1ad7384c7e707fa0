"""``%llm_usage``: the ledger as a table a person reads, a summary by any of its columns, or a file; and its total."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from ipyllm_magics.command_line.options import Parsed

__all__ = ["calls", "exported", "narrowed", "total"]

_DECIMALS = 4  # a tenth of a millisecond, a hundredth of a cent
_SHORT = (
    "started_at", "model", "status", "ttft_s", "total_s", "input_tokens", "output_tokens", "output_tps",
    "cost_usd", "prompt", "response",
)  # fmt: skip


def calls(asked: Parsed, cells: set[str] | None) -> pd.DataFrame:
    """Return the calls that the options ask for, all columns.

    Parameters
    ----------
    asked : Parsed
        The options of the line.
    cells : set of str or None
        Ids of the notebook's cells, for ``--notebook``.
    """
    from ipyllm import usage

    conditions: Mapping[str, Any] = {
        "since": asked["since"],
        "until": asked["until"],
        "model": _full_names(asked["models"]),
        "status": asked["status"],
        "tags": dict(asked["tags"] or ()),
    }
    try:
        if cells is not None:
            everything = usage(kernel=None, **conditions)
            return everything[everything["kernel_id"].isin(_kernels_of(cells))]
        return usage(kernel=None if asked["all"] else "current", **conditions)
    except ValueError as exc:
        raise MagicError(f"%llm_usage: {exc}") from None


def _full_names(given: list[str] | None) -> list[str] | None:
    """Let an alias stand for the model that the ledger knows."""
    from ipyllm.settings import get_settings

    aliases = get_settings().aliases
    return [aliases.get(name, name) for name in given] if given else None


def _kernels_of(cells: set[str]) -> set[str]:
    """Kernels that ran one of these cells, this one among them: a notebook keeps its cells when its kernel goes."""
    from ipyllm import usage
    from ipyllm.ledger.ids import kernel_ids

    known = usage(kernel=None, text=False)[["kernel_id", "cell_id"]]
    here = set(known.loc[known["kernel_id"].isin(kernel_ids()), "cell_id"].dropna())
    return {*kernel_ids(), *known.loc[known["cell_id"].isin(cells | here), "kernel_id"]}


def narrowed(frame: pd.DataFrame, *, by: str | None, full: bool) -> pd.DataFrame:
    """Return the columns a person reads, or one row per value of ``by``."""
    from ipyllm import summarise

    if by is None:
        return frame if full else frame[list(_SHORT)]
    wanted = [name.strip() for name in by.split(",")]
    if "day" in wanted:
        # A day is the reader's own, not UTC's.
        frame = frame.assign(day=frame["started_at"].dt.tz_convert(_zone()).dt.date)
    try:
        return summarise(frame, by=wanted).round(_DECIMALS)
    except ValueError as exc:
        raise MagicError(str(exc)) from None


def _zone() -> Any:
    from datetime import datetime

    return datetime.now().astimezone().tzinfo


def total(frame: pd.DataFrame) -> str:
    """Say in one line what the calls came to; what is not known is not in the sum, and said.

    Examples
    --------
    >>> import pandas as pd
    >>> total(pd.DataFrame({"status": ["ok", "error"], "input_tokens": [10, None], "output_tokens": [5, None],
    ...     "cost_usd": [0.01, None], "usage_source": ["server", None]}))
    '2 calls · 1 failed · 10 → 5 tokens · $0.010 (1 of unknown cost)'
    """
    from ipyllm.text.format import money

    count = len(frame)
    if not count:
        return "No calls."
    parts = [f"{count:,} call{'' if count == 1 else 's'}"]
    failed = int(frame["status"].isin(["error", "truncated"]).sum())
    if failed:
        parts.append(f"{failed} failed")
    counted = frame[frame["usage_source"] == "server"]
    if len(counted):
        tokens = (int(counted[name].astype("Float64").sum()) for name in ("input_tokens", "output_tokens"))
        parts.append("{:,} → {:,} tokens".format(*tokens))
    unknown = int(frame["cost_usd"].isna().sum())
    cost = float(frame["cost_usd"].astype("float64").sum())
    if unknown == count:
        parts.append("cost unknown")
    else:
        told = money(cost) if cost else "free"
        parts.append(told + (f" ({unknown} of unknown cost)" if unknown else ""))
    return " · ".join(parts)


def exported(frame: pd.DataFrame, path: str, kind: str) -> str:
    """Write the calls to a file: ``csv`` or ``parquet``; return a sentence."""
    target = Path(path).expanduser()
    flat = frame.copy()
    for name in ("params", "tags"):
        if name in flat.columns:
            flat[name] = [json.dumps(value, ensure_ascii=False) if value is not None else None for value in flat[name]]
    try:
        if kind == "csv":
            flat.to_csv(target, index=flat.index.name is not None)
        else:
            flat.to_parquet(target, index=flat.index.name is not None)
    except ImportError:
        raise MagicError('Parquet needs pyarrow: pip install "ipyllm[tables]"; or write --csv.') from None
    except OSError as exc:
        raise MagicError(f"{target} cannot be written: {exc.strerror or exc}.") from None
    return f"Wrote {len(flat):,} row{'' if len(flat) == 1 else 's'} to {target}."
