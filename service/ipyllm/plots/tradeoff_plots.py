"""Plots of a score against what it takes: cost or time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ipyllm.dataframes.call_totals import cost_total
from ipyllm.errors import bad_request
from ipyllm.plots.effort_curves import effort_curves
from ipyllm.plots.theme import arm_styles, axes_for, draw_point, legend_below, percent_axis, text_colour, themed
from ipyllm.statistics.arms_conclusion import value_column
from ipyllm.statistics.observations import Metric, Observations, observe
from ipyllm.statistics.summary import summarise_arms
from ipyllm.text.format import count, money

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

__all__ = ["cost_score", "pareto_front", "time_score"]

_WIDE_RANGE = 20


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Return the indices of the arms that no other beats on both cost and score, cheapest first.

    Examples
    --------
    >>> pareto_front(costs=[1.0, 2.0, 3.0, 3.0], scores=[0.5, 0.4, 0.9, 0.8])
    [0, 2]
    """
    order = sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i]))
    front: list[int] = []
    for i in order:
        if not front or scores[i] > scores[front[-1]]:
            front.append(i)
    return front


def cost_score(
    calls: Any, score: str | None = None, *, level: float = 0.95, ax: Axes | None = None, dark: bool | None = None
) -> Axes:
    """Draw each arm's mean score against its mean cost per call, with the Pareto front if the score has a direction.

    Both have their intervals. Arms that differ only in the effort of reasoning are joined by a line, the lowest effort
    first. For ``calls``, ``level``, ``ax`` and ``dark`` see :mod:`ipyllm.plots`.

    Parameters
    ----------
    score : str, optional
        The score; by default the first.

    Raises
    ------
    LLMError
        ``bad_request``: no arm has both a cost and a score.
    """
    return _against(calls, "cost_usd", score, level, ax, dark)


def time_score(
    calls: Any, score: str | None = None, *, level: float = 0.95, ax: Axes | None = None, dark: bool | None = None
) -> Axes:
    """Draw each arm's mean score against its median total time, as :func:`cost_score` does against cost.

    Raises
    ------
    LLMError
        ``bad_request``: no arm has both a total time and a score.
    """
    return _against(calls, "total_s", score, level, ax, dark)


def _against(calls: Any, against: str, score: str | None, level: float, ax: Axes | None, dark: bool | None) -> Axes:
    observed = observe(calls)
    calls = getattr(calls, "calls", calls)
    expense = observed.metric(against)
    noun = "cost" if expense.kind == "money" else expense.label
    if score is None and not observed.scores:
        raise bad_request(f"These calls have no scores, so there is nothing to draw against {noun}.")
    measure = observed.metric(score if score is not None else observed.scores[0])
    columns = value_column(expense), value_column(measure)
    table = summarise_arms(calls, level=level).dropna(subset=columns)
    if table.empty:
        raise bad_request(f"No arm has both a known {noun} and a score.")
    known = [str(arm) for arm in table.index]
    x, y = (table[column].astype(float).to_numpy() for column in columns)
    limits = [table[[f"{column}_low", f"{column}_high"]].to_numpy(float) for column in columns]
    direction = measure.higher_is_better
    front = [] if direction is None else pareto_front(list(x), list(y if direction else -y))
    with themed(dark):
        axes = axes_for(ax, size=(7, 4.8))
        style = arm_styles(observed.arms)
        axes.step(
            x[front],
            y[front],
            where="post",
            color=text_colour(),
            alpha=0.5,
            linewidth=1.2,
            linestyle=(0, (4, 2)),
            zorder=1,
        )
        for curve in effort_curves(calls, known):
            joined = [known.index(arm) for arm in curve]
            axes.plot(x[joined], y[joined], color=style[curve[0]].colour, linewidth=1.4, alpha=0.8, zorder=2)
        handles = []
        for i, arm in enumerate(known):
            whisker: dict[str, Any] = {"color": style[arm].colour, "linewidth": 1.6, "alpha": 0.8}
            if not np.isnan(limits[1][i]).any():
                axes.plot([x[i]] * 2, limits[1][i], **whisker)
            if not np.isnan(limits[0][i]).any():
                axes.plot(limits[0][i], [y[i]] * 2, **whisker)
            handles += draw_point(axes, x[i], y[i], style[arm], filled=i in front or direction is None, size=9)
        _scale_expense(axes, expense, x, limits[0])
        axes.grid(alpha=0.25)
        cheaper = "cheaper" if expense.kind == "money" else "faster"
        filled = "" if direction is None else f"; filled: no other arm is both {cheaper} and better"
        unit = " (s), median" if expense.kind == "time" else ""
        axes.set_xlabel(f"{expense.label}{unit}{filled}")
        is_share = observed.is_binary(measure)
        axes.set_ylabel(f"{measure.label}: {'share' if is_share else 'mean'}".replace("$", r"\$"))
        if is_share:
            percent_axis(axes.yaxis)
        if notes := _left_out(observed, known, expense):
            axes.annotate("\n".join(notes), (0.01, 0.01), xycoords="axes fraction", fontsize="small", alpha=0.7)
        if ax is None:
            legend_below(axes, handles, known)
    return axes


def _scale_expense(axes: Axes, expense: Metric, values: np.ndarray, limits: np.ndarray) -> None:
    """Label the axis of a cost or time in its unit; it is logarithmic where the arms are far apart."""
    if values.min() > 0 and values.max() / values.min() > _WIDE_RANGE:
        axes.set_xscale("log")
    else:
        widest = float(np.nanmax([*values, *limits[:, 1]]))
        axes.set_xlim(-0.03 * widest if widest else -1, 1.08 * widest or 1)
        axes.locator_params(axis="x", nbins=5)

    def label(value: float, _: float) -> str:
        text = money(value) if expense.kind == "money" else f"{value:g}"
        return text.replace("$", r"\$") if value >= 0 else ""

    axes.xaxis.set_major_formatter(label)


def _left_out(observed: Observations, known: Sequence[str], expense: Metric) -> list[str]:
    """Say which arms and calls the plot lacks."""
    n_left_out = len(observed.arms) - len(known)
    noun = "cost" if expense.kind == "money" else expense.label
    notes = [f"{count(n_left_out, 'arm')} without a known {noun} or score"] if n_left_out else []
    if expense.kind == "money":
        total = cost_total(observed.frame[observed.frame["arm"].isin(known)])
        notes += [f"means of known costs: {total.caveat}"] if total.n_unknown else []
    return notes
