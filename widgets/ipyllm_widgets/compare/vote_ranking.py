"""Ranks the models by votes cast in widgets, as a table and as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from ipyllm.comparison.votes import votes
from ipyllm.text.format import UNKNOWN, is_missing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

__all__ = ["ranking_html", "ranking_of_votes"]

_STRENGTH = (
    "The strength says how often a model wins: 0 is the average of these models, and one that is 1 ahead of another "
    "wins 2.7 times for each loss against it."
)


def ranking_of_votes(shown: Sequence[str]) -> pd.DataFrame:
    """Rank the models by the votes of this kernel's widgets, and those on comparisons that are shown.

    Parameters
    ----------
    shown : sequence of str
        Ids of comparisons; their votes count also if an earlier kernel has stored them.

    Raises
    ------
    LLMError
        There are no votes yet.
    """
    from ipyllm.statistics import ranking

    return ranking(_votes_of_widgets(shown))


def _votes_of_widgets(shown: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    cast = votes()
    cast = cast[cast["origin"] == "widget"]
    if not shown:
        return cast
    earlier = votes(kernel=None, comparison=shown)
    return pd.concat([earlier[~earlier["vote_id"].isin(cast["vote_id"])], cast], ignore_index=True)


def ranking_html(shown: Sequence[str]) -> str:
    """Return the ranking so far as HTML, empty without votes, or the reason why there is none."""
    try:
        if _votes_of_widgets(shown).empty:  # the last one was withdrawn
            return ""
        table = ranking_of_votes(shown)
    except ImportError as exc:
        return f"<p>The ranking needs a package that is not installed: {escape(exc.name or str(exc))}.</p>"
    heads = ("model", "strength", "95 % interval", "votes", "won", "lost", "tied", "all bad")
    rows = "".join(
        f"<tr><th scope='row'>{escape(str(row['arm']))}</th>{''.join(f'<td>{cell}</td>' for cell in _cells(row))}</tr>"
        for row in table.reset_index().to_dict("records")
    )
    head = "".join(f"<th scope='col'>{name}</th>" for name in heads)
    sentences: Sequence[str] = (getattr(table, "conclusion", ""), *getattr(table, "notes", ()), _STRENGTH)
    below = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences if sentence)
    table_html = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<div role='region' aria-label='Ranking' tabindex='0'>{table_html}</div>{below}"


def _cells(row: Mapping[Any, Any]) -> tuple[str, ...]:
    counts = tuple(f"{int(row[name]):,}" for name in ("votes", "wins", "losses", "ties", "both_bad"))
    # Without limits, there are votes on too few prompts; the sentence below says so.
    interval = UNKNOWN if is_missing(row["low"]) else f"{_signed(row['low'])} to {_signed(row['high'])}"
    return (_signed(row["strength"]), interval, *counts)


def _signed(value: float) -> str:
    return f"{value:+.2f}" if round(value, 2) else "0.00"  # not -0.00
