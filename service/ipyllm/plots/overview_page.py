"""``overview()``: all plots of an experiment on one page."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ipyllm.plots.score_plots import pairs
from ipyllm.plots.theme import arm_styles, legend_below, pyplot, themed
from ipyllm.plots.timing_plots import intervals, latency, throughput
from ipyllm.plots.tradeoff_plots import cost_score, time_score
from ipyllm.statistics.observations import METRICS, Metric, Observations, Sort, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["available_plots", "available_tradeoffs", "draw_plots", "overview", "row_height"]

_WIDTH = 13.0


def available_plots(observed: Observations, sort: Sort | None = None) -> dict[str, Callable[..., Axes]]:
    """Return the plots for which these calls have data: functions of the calls, with ``ax`` and ``dark``."""
    known = {metric.name for metric in observed.metrics()}
    found: dict[str, Callable[..., Axes]] = {}
    if observed.scores and observed.scores[0] in known:
        score = observed.scores[0]
        found["score"] = lambda calls, **where: intervals(calls, score, sort=sort, **where)
        if (observed.frame["cost_usd"].notna() & observed.frame[score].notna() & ~observed.frame["cache_hit"]).any():
            found["cost"] = lambda calls, **where: cost_score(calls, score, **where)
    if observed.first_time.name in known:
        found["latency"] = latency
        found["first time"] = partial(intervals, sort=sort)
    elif "total_s" in known and observed.mostly_late(observed.first_time):
        found["latency"] = lambda calls, **where: _total_times(calls, observed.first_time, **where)
    if "output_tps" in known:
        found["speed"] = lambda calls, **where: intervals(calls, "output_tps", sort=sort, **where)
    frame = observed.frame
    if "started_at" in frame:
        complete = frame[["started_at", "total_s", "output_tokens"]].notna().all(axis=1)
        if (complete & ~frame["cache_hit"]).any():
            found["throughput"] = throughput
    if len(observed.arms) == 2 and "score" in found and _has_shared_prompts(observed):  # noqa: PLR2004
        found["pairs"] = lambda calls, **where: pairs(calls, metric=observed.scores[0], **where)
    return found


def overview(calls: Any, *, sort: Sort | None = None, dark: bool | None = None) -> Figure:
    """Draw all plots for which these calls have data, with one legend.

    For ``calls``, ``sort`` (each plot by its own value) and ``dark`` see :mod:`ipyllm.plots`.

    Parameters
    ----------
    calls : DataFrame, or anything that has one as ``.calls``
        As in :func:`ipyllm.statistics.summarise_arms`. A plot without data is left out.

    Returns
    -------
    Figure

    Raises
    ------
    LLMError
        ``bad_request``: these calls have no data to draw.
    """
    from ipyllm.errors import bad_request

    observed = observe(calls)
    calls = getattr(calls, "calls", calls)
    plots = available_plots(observed, sort)
    if not plots:
        raise bad_request("These calls have neither times nor scores, so there is nothing to draw.")
    return draw_plots(calls, observed, plots, row_height=row_height(observed), dark=dark)


def available_tradeoffs(observed: Observations, score: str) -> dict[str, Callable[..., Axes]]:
    """Return the plots of a score against cost and against time for which these calls have data."""
    known = observed.frame[score].notna()
    found: dict[str, Callable[..., Axes]] = {}
    if (observed.values(METRICS["cost_usd"]).notna() & known).any():
        found["cost"] = partial(cost_score, score=score)
    if (observed.values(METRICS["total_s"]).notna() & known).any():
        found["time"] = partial(time_score, score=score)
    return found


def row_height(observed: Observations) -> float:
    """Return the height of a row of plots that name the arms on an axis, in inches."""
    return max(3.4, 1.2 + 0.42 * len(observed.arms))


def draw_plots(
    calls: Any,
    observed: Observations,
    plots: Mapping[str, Callable[..., Axes]],
    *,
    row_height: float,
    dark: bool | None = None,
) -> Figure:
    """Draw plots in one figure, two in a row of this height in inches, with one legend of the arms."""
    columns = min(2, len(plots))
    rows = -(-len(plots) // columns)
    with themed(dark):
        plt = pyplot()
        from matplotlib.layout_engine import ConstrainedLayoutEngine
        from matplotlib.lines import Line2D

        height = rows * row_height + 0.5
        figure: Figure = plt.figure(
            figsize=(_WIDTH / 2 * columns, height), layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12)
        )
        for i, draw in enumerate(plots.values()):
            draw(calls, ax=figure.add_subplot(rows, columns, i + 1), dark=dark)
        style = arm_styles(observed.arms)
        handles = [
            Line2D([], [], color=each.colour, linestyle=each.line, marker=each.marker, markersize=7)
            for each in style.values()
        ]
        legend_below(figure.axes[0], handles, observed.arms)
    return figure


def _total_times(calls: Any, lacking: Metric, **where: Any) -> Axes:
    """Draw the total times, and say why there are no first times."""
    axes = latency(calls, "total_s", **where)
    axes.set_title(f"no {lacking.label}: most calls measured late", fontsize="medium")
    return axes


def _has_shared_prompts(observed: Observations) -> bool:
    means, _ = observed.by_prompt(observed.frame[observed.scores[0]].to_numpy())
    return bool(np.isfinite(means).all(axis=0).any())
