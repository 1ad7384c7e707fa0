"""Plots of what a model would write: bars of the next token, and a tree of continuations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ipyllm.errors import bad_request
from ipyllm.plots.theme import arm_styles, axes_for, text_colour, themed
from ipyllm.text.format import shorten
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["next_token_bars", "token_tree"]

_EDGES: Final = str.maketrans({" ": "␣", "\n": "↵", "\t": "→", "$": r"\$"})
_TITLE_CHARS: Final = 70


def next_token_bars(table: pd.DataFrame, *, ax: Axes | None = None, dark: bool | None = None) -> Axes:
    """Draw the probabilities of the next token, a bar for each token and temperature.

    Parameters
    ----------
    table : DataFrame
        Of :func:`ipyllm.next_token`.

    Raises
    ------
    LLMError
        ``bad_request``: another table.
    """
    names = [name for name in table.columns if str(name).startswith("t=")]
    if not names or "token" not in table.columns:
        raise bad_request("next_token_bars draws the table of next_token(…).")
    n, height = len(table), 0.8 / len(names)
    with themed(dark):
        axes = axes_for(ax, size=(7, 0.8 + 0.36 * n * max(1.0, len(names) / 2)))
        styles = arm_styles(names)
        for number, (name, style) in enumerate(styles.items()):
            places = np.arange(n) - 0.4 + height * (number + 0.5)
            values = table[name].to_numpy(float)
            axes.barh(
                places, values, height, color=style.colour, hatch=style.hatch, edgecolor=text_colour(), label=name
            )
            for place, value in zip(places, values, strict=True):
                axes.text(value + 0.01, place, f"{value:.1%}", va="center", fontsize=7 if len(names) > 1 else 8)
        axes.set_yticks(np.arange(n), [_label(token) for token in table["token"]])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12)
        axes.set_xlabel("probability of the next token")
        axes.set_title(_title(table), loc="left", fontsize=10)
        if len(names) > 1:
            axes.legend(title="temperature", frameon=False, loc="lower right")
    return axes


def token_tree(paths: pd.DataFrame, *, ax: Axes | None = None, dark: bool | None = None) -> Axes:
    """Draw continuations as a tree: each token with how many of them go through it, and its probability there.

    Parameters
    ----------
    paths : DataFrame
        Of :func:`ipyllm.sample_paths`.

    Raises
    ------
    LLMError
        ``bad_request``: another table.
    """
    if not {"tokens", "probabilities", "n"} <= set(paths.columns):
        raise bad_request("token_tree draws the table of sample_paths(…).")
    rows = sorted(zip(paths["tokens"], paths["probabilities"], paths["n"], strict=True), key=lambda row: row[0])
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, (tokens, _, _) in enumerate(rows):
        for depth in range(len(tokens) + 1):
            groups.setdefault(tuple(tokens[:depth]), []).append(place)
    total = sum(n for _, _, n in rows)
    deepest = max(len(tokens) for tokens, _, _ in rows)
    with themed(dark):
        axes = axes_for(ax, size=(2.6 * (deepest + 1), 0.8 + 0.3 * len(rows)))
        colour = arm_styles(["path"])["path"].colour
        for prefix, places in groups.items():
            x, y = len(prefix), float(np.mean(places))
            n = sum(rows[place][2] for place in places)
            if prefix:
                above = float(np.mean(groups[prefix[:-1]]))
                axes.plot(
                    [x - 0.4 if len(prefix) > 1 else x - 0.55, x - 0.05],
                    [above, y],
                    color=colour,
                    linewidth=0.6 + 5 * n / total,
                    alpha=0.7,
                )
                chance = rows[places[0]][1][len(prefix) - 1]
                axes.text(x, y, f"{_label(prefix[-1])}  {_percent(chance)} · {n}×", va="center", fontsize=8)
            else:
                axes.text(0.42, y, f"{total}×", va="center", ha="right", fontsize=8)
        axes.set_xlim(0, deepest + 1)
        axes.set_ylim(len(rows) - 0.3, -0.7)
        axes.set_axis_off()
        axes.set_title(_title(paths), loc="left", fontsize=10)
    return axes


def _percent(chance: float) -> str:
    return "<1%" if chance < 0.01 else f"{chance:.0%}"  # noqa: PLR2004


def _label(token: str) -> str:
    return strip_control_sequences(shorten(token.translate(_EDGES), 20, fold=False))


def _title(table: Any) -> str:
    prompt = strip_control_sequences(str(table.attrs.get("prompt", "")))
    shown = prompt if len(prompt) <= _TITLE_CHARS else "…" + prompt[-_TITLE_CHARS:]
    return shown.replace("\n", "↵").replace("$", r"\$") + " …"
