"""``%llm_usage``: the ledger as a table a person reads, or a summary by any of its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["table"]

_DECIMALS = 4  # a tenth of a millisecond, a hundredth of a cent
_SHORT = (
    "started_at", "model", "status", "ttft_s", "total_s", "input_tokens", "output_tokens", "output_tps",
    "cost_usd", "prompt", "response",
)  # fmt: skip


def table(*, by: str | None, everything: bool, full: bool) -> pd.DataFrame:
    """Return calls, one a row, or one row per value of ``by``."""
    from ipyllm import summarise, usage

    frame = usage(kernel=None) if everything else usage()
    if by is None:
        return frame if full else frame[list(_SHORT)]
    try:
        return summarise(frame, by=[name.strip() for name in by.split(",")]).round(_DECIMALS)
    except ValueError as exc:
        raise MagicError(str(exc)) from None
