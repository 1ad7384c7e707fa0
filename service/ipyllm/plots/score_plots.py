"""Plots of scores prompt by prompt, and of votes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ipyllm.errors import bad_request
from ipyllm.plots.theme import arm_styles, axes_for, label_arms, labels, text_colour, themed
from ipyllm.statistics.observations import observe
from ipyllm.statistics.pairs import compare_pairs, prompt_means
from ipyllm.statistics.ranking import win_matrix as win_table
from ipyllm.text.format import count, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["pairs", "win_matrix"]

_SMALL_MATRIX = 7


def pairs(
    calls: Any,
    arm: str | None = None,
    baseline: str | None = None,
    metric: str | None = None,
    *,
    level: float = 0.95,
    ax: Axes | None = None,
    dark: bool | None = None,
) -> Axes:
    """Draw the sorted differences between two arms on all prompts, with their mean and its interval.

    For ``calls``, ``level``, ``ax`` and ``dark`` see :mod:`ipyllm.plots`.

    Parameters
    ----------
    arm, baseline : str, optional
        The arms; by default the second and the first.
    metric : str, optional
        The metric; by default the first score, else the time to first token, or to first visible text where a model
        reasons. Below the axis: prompts without a value of both.

    Raises
    ------
    LLMError
        ``bad_request``: one arm only, no such arm or metric, or no prompt that both answered.
    """
    observed = observe(calls)
    if len(observed.arms) == 1:
        raise bad_request(f"There is only one arm, {observed.arms[0]!r}, so there are no pairs to draw.")
    below = observed.arms[0] if baseline is None else observed.arm(baseline)
    above = next(other for other in observed.arms if other != below) if arm is None else observed.arm(arm)
    measure = observed.metric(metric or next(iter(observed.scores), observed.first_time.name))
    means = prompt_means(observed, measure)
    found = compare_pairs(means, measure, above, below, level=level)
    if not found.n_pairs:
        raise bad_request(f"No prompt has {measure.plural} of both {above} and {below}.")
    both = means.table.loc[[above, below]].dropna(axis=1).to_numpy()
    diffs = np.sort(both[0] - both[1])
    better = diffs * (-1 if measure.higher_is_better is False else 1)
    words = ("higher", "lower") if measure.higher_is_better is None else ("better", "worse")
    with themed(dark):
        axes = axes_for(ax, size=(7, 4.2))
        good, bad = (arm_styles(["good", "", "", "bad"])[kind].colour for kind in ("good", "bad"))
        x = np.arange(1, diffs.size + 1)
        for mask, colour, marker in (
            (better > 0, good, "^"),
            (better < 0, bad, "v"),
            (better == 0, text_colour(), "."),
        ):
            axes.vlines(x[mask], 0, diffs[mask], color=colour, linewidth=1.2, alpha=0.6)
            axes.plot(x[mask], diffs[mask], marker, color=colour, markersize=4 if x.size > 60 else 6, linestyle="none")  # noqa: PLR2004
        axes.axhline(0, color=text_colour(), linewidth=0.8)
        axes.axhline(found.difference, color=text_colour(), linewidth=1.4, linestyle=(0, (5, 2)))
        if not math.isnan(found.low) and not math.isnan(found.high):
            axes.axhspan(found.low, found.high, color=text_colour(), alpha=0.12, linewidth=0)
        axes.set_title(
            f"{words[0]} on {int((better > 0).sum())}, {words[1]} on {int((better < 0).sum())}, the same on "
            f"{int((better == 0).sum())} of {diffs.size} prompts; overall {number(found.difference)}{measure.unit}",
            fontsize="medium",
        )
        names = labels(observed.arms)
        above_name, below_name = (names[arm].replace("\n", " ") for arm in (above, below))
        left_out = means.table.shape[1] - diffs.size
        note = f"; {count(left_out, 'prompt')} without both values" if left_out else ""
        axes.set_xlabel(f"prompts, by difference: {above_name}\nagainst {below_name}{note}", fontsize="small")
        unit = f" ({measure.unit.strip()})" if measure.unit else ""
        axes.set_ylabel(f"difference in {measure.label}{unit}".replace("$", r"\$"))
        axes.set_xlim(0, diffs.size + 1)
        axes.locator_params(axis="x", integer=True)
    return axes


def win_matrix(votes: Any, *, ax: Axes | None = None, dark: bool | None = None) -> Axes:
    """Draw the share of votes for the arm of the row against that of the column.

    For ``ax`` and ``dark`` see :mod:`ipyllm.plots`.

    Parameters
    ----------
    votes : DataFrame, or anything that has one as ``.votes``
        As in :func:`ipyllm.statistics.ranking`. A tie is half a win for each.
    """
    table = win_table(votes)
    wins = table.to_numpy()
    n_votes = wins + wins.T
    shares = np.divide(wins, n_votes, out=np.full(wins.shape, math.nan), where=n_votes > 0)
    n = len(table)
    with themed(dark):
        axes = axes_for(ax, size=(3.6 + 0.62 * n, 2.6 + 0.5 * n))
        from matplotlib.colors import LinearSegmentedColormap

        # Vermillion and blue are distinct in every kind of colour vision.
        colours = LinearSegmentedColormap.from_list("wins", ["#D55E00", axes.get_facecolor(), "#0072B2"])
        axes.imshow(shares, cmap=colours, vmin=0, vmax=1, aspect="auto")
        for i in range(n):
            for j in range(n):
                if i != j:
                    small = n > _SMALL_MATRIX
                    share = "·" if math.isnan(shares[i, j]) else f"{100 * shares[i, j]:.0f}"
                    text = share if small or share == "·" else f"{share} %\nof {n_votes[i, j]:.0f}"
                    strong = not math.isnan(shares[i, j]) and abs(shares[i, j] - 0.5) > 0.3  # noqa: PLR2004
                    axes.text(
                        j,
                        i,
                        text,
                        ha="center",
                        va="center",
                        fontsize="small",
                        color="#ffffff" if strong else text_colour(),
                    )
        arms = [str(arm) for arm in table.index]
        label_arms(axes, arms)
        label_arms(axes, arms, "x", rotation=45, ha="right", rotation_mode="anchor")
        axes.spines[:].set_visible(False)
        axes.set_title(f"row preferred to column,\n% of {n_votes.sum() / 2:,.0f} votes", fontsize="medium")
    return axes
