"""The table of statistics, with a conclusion and notes in plain words below it."""

from __future__ import annotations

import math
import re
import textwrap
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from ipyllm.dataframes.calls_frame import CallsFrame
from ipyllm.dataframes.summary_frame import format_costs
from ipyllm.text.format import UNKNOWN, money, number
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StatisticsFrame", "format_interval", "format_level", "format_p"]

_CELL_WITH_PARTS = re.compile(r"(?<=>)[^<>]* · [^<>]*(?=</t[hd]>)")
_COUNTS_BESIDE_COSTS = ("cost_unknown", "cost_per_call_n")  # shown with the costs


class StatisticsFrame(CallsFrame):
    """A DataFrame that is shown rounded, each value with its interval, and a conclusion below.

    A frame that pandas derives from it (a selection, a sum) has no conclusion, which holds only for the complete table.

    Attributes
    ----------
    conclusion : str
        What the table shows, in sentences.
    notes : tuple of str
        Caveats: calls left out, arms that answered different prompts, small samples.
    """

    _metadata: ClassVar[list[str]] = ["conclusion", "notes"]
    conclusion: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, frame: pd.DataFrame, conclusion: str, notes: list[str] | tuple[str, ...] = ()) -> StatisticsFrame:
        """Return ``frame`` with the sentences to show below it."""
        table = cls(frame)
        table.conclusion = strip_control_sequences(conclusion)
        table.notes = tuple(strip_control_sequences(note) for note in notes)
        return table

    def compact(self) -> pd.DataFrame:
        """Return the table as text: rounded, with each interval beside its value.

        Redundant columns are left out: the baseline or the family of metrics if there is one, and the number of calls
        with a score where all have one.
        """
        shown: dict[str, list[str]] = {}
        for column in self.columns:
            if column in {"baseline", "family"} and len(set(self[column])) == 1:
                continue
            if column.endswith("_n") and self[column].equals(self["n"]):
                continue
            if column.endswith(("_low", "_high")) or (column in {"low", "high"} and "low" in self.columns):
                continue
            if column in _COUNTS_BESIDE_COSTS or (column == "uncounted" and not self[column].any()):
                continue
            low, high = ("low", "high") if column in {"difference", "strength"} else (f"{column}_low", f"{column}_high")
            format_one = partial(_format_value, column)
            shown[column] = [format_one(value) for value in self[column]]
            if column == "cost_usd" and "cost_unknown" in self.columns:
                shown[column] = format_costs(self)
            elif column == "cost_per_call_usd" and "cost_per_call_n" in self.columns:
                rows = zip(shown[column], self["cost_per_call_n"], self["n"], strict=True)
                shown[column] = [f"{text}, mean of {k} of {n}" if 0 < k < n else text for text, k, n in rows]
            elif column in {"input_tokens", "output_tokens"} and "uncounted" in self.columns:
                are_bounds = (self["uncounted"] > 0) & self[column].notna()
                pairs = zip(shown[column], are_bounds, strict=True)
                shown[column] = [f"≥ {text}" if is_bound else text for text, is_bound in pairs]
            if low in self.columns:
                limits = zip(self[low], self[high], strict=True)
                shown[column] = [
                    text + format_interval(*pair, format_one) for text, pair in zip(shown[column], limits, strict=True)
                ]
        return pd.DataFrame(shown, index=self.index)

    def __repr__(self) -> str:
        with pd.option_context("display.max_columns", None, "display.width", 160, "display.max_colwidth", 60):
            table = repr(CallsFrame(self.compact()))
        return "\n".join([table, "", *self._sentences(lambda text: textwrap.fill(text, 100))])

    def _repr_html_(self) -> str | None:
        table = _CELL_WITH_PARTS.sub(_wrapped_between_parts, CallsFrame(self.compact())._repr_html_() or "")
        below = "".join(f'<p style="max-width:60em;margin:.4em 0">{line}</p>' for line in self._sentences(escape))
        # Only the table scrolls, so that the sentences below it stay readable.
        scroller = f'<div class="ipyllm-scroller" style="overflow-x:auto">{table}</div>'
        return f'<div class="ipyllm-statistics mathjax_ignore tex2jax_ignore">{scroller}{below}</div>'

    def _sentences(self, render: Any) -> list[str]:
        # A frame that pandas derived from this one has neither.
        conclusion, notes = getattr(self, "conclusion", ""), getattr(self, "notes", ())
        return [render(text) for text in (conclusion, *(f"Note: {note}" for note in notes)) if text]


def _wrapped_between_parts(cell: re.Match[str]) -> str:
    parts = cell[0].split(" · ")
    lines = [*(f"{part} ·" for part in parts[:-1]), parts[-1]]
    return " ".join(f'<span style="white-space:nowrap">{line}</span>' for line in lines)


def format_p(p: Any) -> str:
    """Return a p-value as text, never 0 or 1.

    Examples
    --------
    >>> [format_p(p) for p in (0.00001, 0.0312, 0.5, 1.0)]
    ['<0.001', '0.031', '0.500', '>0.99']
    """
    if pd.isna(p):
        return UNKNOWN
    return "<0.001" if p < 0.001 else ">0.99" if p > 0.99 else f"{p:.3f}"  # noqa: PLR2004


def format_level(level: float) -> str:
    """Return a level of confidence as text.

    Examples
    --------
    >>> format_level(0.95), format_level(1 - 0.05 / 12), format_level(1 - 0.05 / 2800)  # never 100%
    ('95%', '99.58%', '99.9982%')
    """
    decimals = max(2, 1 - math.floor(math.log10(100 * (1 - level))))
    return f"{100 * level:.{decimals}f}".rstrip("0").rstrip(".") + "%"


def _format_value(column: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if column in {"p", "p_adjusted", "p_best"}:
        return format_p(value)
    if "_usd" in column:
        return money(value)
    if pd.isna(value):
        return UNKNOWN
    return f"{value:,}" if isinstance(value, int) else number(float(value))


def format_interval(low: Any, high: Any, format_one: Callable[[float], str]) -> str:
    """Return the limits in brackets, after a space; an empty string if both are missing."""
    if pd.isna(low) and pd.isna(high):
        return ""
    # A limit is missing where there are too few calls for one: the interval is open.
    texts = ["…" if pd.isna(limit) else format_one(float(limit)) for limit in (low, high)]
    return f" [{texts[0]}, {texts[1]}]"
