"""A table of statistics that says below itself, in plain words, what can and what cannot be concluded from it.

Imports pandas: load it late.
"""

from __future__ import annotations

import math
import textwrap
from html import escape
from typing import Any, ClassVar

import pandas as pd

from ipyllm.dataframes.calls_frame import CallsFrame
from ipyllm.text.terminal import plain

__all__ = ["StatisticsFrame", "money", "rounded", "share"]

_NOTHING = "–"


class StatisticsFrame(CallsFrame):
    """Numbers as pandas has them; shown rounded, each value with its interval, with a conclusion below.

    What is derived from it (a selection, a sum) is an ordinary frame: the conclusion was drawn from the whole.

    Attributes
    ----------
    conclusion : str
        What the table says, in whole sentences.
    notes : tuple of str
        What to beware of: calls left out, arms that answered different prompts, too few of something.
    """

    _metadata: ClassVar[list[str]] = ["conclusion", "notes"]
    conclusion: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, frame: pd.DataFrame, conclusion: str, notes: list[str] | tuple[str, ...] = ()) -> StatisticsFrame:
        """Return ``frame`` with what is to be said below it."""
        table = cls(frame)
        table.conclusion = plain(conclusion)
        table.notes = tuple(plain(note) for note in notes)
        return table

    def compact(self) -> pd.DataFrame:
        """Return the table as people read it: text, rounded, with each interval beside its value.

        What the sentences below say, or another column, is left out: the baseline, and how many calls have a score
        where all have one.
        """
        shown: dict[str, list[str]] = {}
        for column in self.columns:
            if column == "baseline" or (column.endswith("_n") and self[column].equals(self["n"])):
                continue
            if column.endswith(("_low", "_high")) or (column in {"low", "high"} and "low" in self.columns):
                continue
            low, high = ("low", "high") if column in {"difference", "strength"} else (f"{column}_low", f"{column}_high")
            with_interval = low in self.columns
            shown[column] = [
                _cell(column, self[column].iloc[row])
                + (_limits(column, self[low].iloc[row], self[high].iloc[row]) if with_interval else "")
                for row in range(len(self))
            ]
        return pd.DataFrame(shown, index=self.index)

    def __repr__(self) -> str:
        with pd.option_context("display.max_columns", None, "display.width", 160, "display.max_colwidth", 60):
            table = repr(CallsFrame(self.compact()))
        return "\n".join([table, "", *self._below(lambda text: textwrap.fill(text, 100))])

    def _repr_html_(self) -> str | None:
        table = CallsFrame(self.compact())._repr_html_()
        below = "".join(f'<p style="max-width:60em;margin:.4em 0">{line}</p>' for line in self._below(escape))
        # The table scrolls by itself: sentences below it stay where they can be read.
        scroller = f'<div class="ipyllm-scroller" style="overflow-x:auto">{table}</div>'
        return f'<div class="ipyllm-statistics mathjax_ignore tex2jax_ignore">{scroller}{below}</div>'

    def _below(self, shape: Any) -> list[str]:
        # A frame that pandas made of this one, for its own purposes, has neither.
        conclusion, notes = getattr(self, "conclusion", ""), getattr(self, "notes", ())
        return [shape(text) for text in (conclusion, *(f"Note: {note}" for note in notes)) if text]


def rounded(value: Any) -> str:
    """Return a number with three digits that mean something.

    Examples
    --------
    >>> [rounded(value) for value in (0.123456, 0.5, 1234567.0, 0.0, -0.00012345, float("nan"))]
    ['0.123', '0.5', '1,234,567', '0', '-0.000123', '–']
    """
    if pd.isna(value):
        return _NOTHING
    if value == 0 or math.isinf(value):
        return "0" if value == 0 else "∞" if value > 0 else "-∞"
    digits = min(max(0, 2 - math.floor(math.log10(abs(value)))), 12)
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def share(p: Any) -> str:
    """Return a p as it is written: never 0.

    Examples
    --------
    >>> [share(p) for p in (0.00001, 0.0312, 0.5)]
    ['<0.001', '0.031', '0.500']
    """
    if pd.isna(p):
        return _NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004


def money(dollars: Any) -> str:
    """Return dollars with as many digits as cheap calls need.

    Examples
    --------
    >>> [money(dollars) for dollars in (12.5, 0.000123, 0.0)]
    ['$12.50', '$0.000123', '$0']
    """
    if pd.isna(dollars):
        return _NOTHING
    if dollars == 0:
        return "$0"
    text = f"${abs(dollars):,.2f}" if abs(dollars) >= 1 else f"${rounded(abs(dollars))}"
    return f"-{text}" if dollars < 0 else text


def _cell(column: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if column in {"p", "p_holm", "p_best"}:
        return share(value)
    if "_usd" in column:
        return money(value)
    if pd.isna(value):
        return _NOTHING
    return f"{value:,}" if isinstance(value, int) else rounded(float(value))


def _limits(column: str, low: Any, high: Any) -> str:
    if pd.isna(low) and pd.isna(high):
        return ""
    # A limit that so few calls cannot give is open, which is not the same as unknown.
    texts = ["…" if pd.isna(limit) else _cell(column, float(limit)) for limit in (low, high)]
    return f" [{texts[0]}, {texts[1]}]"
