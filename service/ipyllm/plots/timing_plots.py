"""Plots of times: distributions by arm, values with intervals, and throughput over time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ipyllm.dataframes.call_totals import cost_total
from ipyllm.dataframes.call_totals import counted as counted_tokens
from ipyllm.errors import bad_request
from ipyllm.plots.theme import (
    arm_styles,
    axes_for,
    draw_point,
    label_arms,
    labels,
    legend_below,
    percent_axis,
    text_colour,
    themed,
)
from ipyllm.statistics.caveats import MAX_NAMES
from ipyllm.statistics.means import clustered_mean
from ipyllm.statistics.observations import Metric, Observations, Sort, by_value, observe
from ipyllm.statistics.quantiles import quantile, quantile_interval
from ipyllm.text.format import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["intervals", "latency", "throughput"]

_WIDE_RANGE = 20
_BINS = 50


def latency(calls: Any, metric: str | None = None, *, ax: Axes | None = None, dark: bool | None = None) -> Axes:
    """Draw the cumulative distribution of a time, one line per arm.

    For ``calls``, ``ax`` and ``dark`` see :mod:`ipyllm.plots`.

    Parameters
    ----------
    metric : str, optional
        ``"ttft_s"``, ``"ttfo_s"``, ``"thinking_s"`` or ``"total_s"``; by default ``"ttfo_s"`` where a model reasons,
        else ``"ttft_s"``. The plot names the arms without a line, and says how many calls are left out.

    Raises
    ------
    LLMError
        ``bad_request``: no calls, no such metric, or none of them has it.
    """
    observed = observe(calls)
    measure = observed.first_time if metric is None else observed.metric(metric)
    samples = _samples(observed, measure)
    with themed(dark):
        axes = axes_for(ax, size=(7, 4.5))
        style = arm_styles(observed.arms)
        for share in (0.5, 0.95):
            axes.axhline(share, color=text_colour(), alpha=0.25, linewidth=0.8)
        for arm, values in samples.items():
            ordered = np.sort(values)
            shares = np.arange(1, ordered.size + 1) / ordered.size
            axes.step(
                np.r_[ordered[0], ordered],
                np.r_[0, shares],
                where="post",
                color=style[arm].colour,
                linestyle=style[arm].line,
                linewidth=1.8,
            )
        _set_time_scale(axes, np.concatenate(list(samples.values())))
        axes.set(xlabel=f"{measure.label} ({measure.unit.strip()}){_left_out_note(observed, measure)}", ylim=(0, 1.01))
        axes.set_ylabel("share of calls")
        percent_axis(axes.yaxis)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 0.95])
        if ax is None:
            legend_below(axes, axes.get_lines()[2:], list(samples))
        _name_missing_arms(axes, observed, measure, samples)
    return axes


def intervals(
    calls: Any,
    metric: str | None = None,
    *,
    level: float = 0.95,
    sort: Sort | None = None,
    ax: Axes | None = None,
    dark: bool | None = None,
) -> Axes:
    """Draw each arm's value with its interval.

    For ``calls``, ``level``, ``sort``, ``ax`` and ``dark`` see :mod:`ipyllm.plots`.

    Parameters
    ----------
    metric : str, optional
        A time or ``"output_tps"``: the median (filled) and, for times, the 95th percentile (hollow); a score, cost or
        ``"errors"``: the mean. By default ``"ttfo_s"`` where a model reasons, else ``"ttft_s"``. An arrow marks a limit
        for which there are too few calls.
    """
    observed = observe(calls)
    measure = observed.first_time if metric is None else observed.metric(metric)
    values = observed.values(measure).to_numpy()
    samples = _samples(observed, measure)
    with themed(dark):
        axes = axes_for(ax, size=(7, 1.2 + 0.5 * len(observed.arms)))
        style = arm_styles(observed.arms)
        arms, prompts = observed.frame["arm"].to_numpy(), observed.frame["prompt"].to_numpy()
        points = {
            arm: _points(measure, values[arms == arm], prompts[arms == arm], level, binary=observed.is_binary(measure))
            for arm in samples
        }
        first_values = {arm: points[arm][0][2][0] if arm in points else math.nan for arm in observed.arms}
        order = by_value(first_values, measure, sort)
        for row, arm in enumerate(order):
            if arm not in samples:
                axes.annotate(
                    _why_missing(observed, measure, arm),
                    (0.02, row),
                    xycoords=("axes fraction", "data"),
                    va="center",
                    alpha=0.6,
                )
                continue
            for shift, hollow, (value, low, high) in points[arm]:
                _whisker(axes, row + shift, (value, low, high), float(samples[arm].max()), style[arm].colour)
                draw_point(axes, value, row + shift, style[arm], filled=not hollow)
        label_arms(axes, order)
        axes.set_ylim(len(order) - 0.5, -0.5)
        axes.grid(axis="x", alpha=0.25)
        caveat = cost_total(observed.frame).caveat if measure.kind == "money" else ""
        of_known = f" of known costs, {caveat}" if caveat else ""
        axes.set_xlabel(_axis_label(measure) + of_known + _left_out_note(observed, measure))
        if measure.kind in {"time", "money"}:
            axes.set_xlim(left=0)
        if measure.kind == "errors" or set(np.unique(values[~np.isnan(values)])) <= {0.0, 1.0}:
            percent_axis(axes.xaxis)
    return axes


def throughput(calls: Any, *, ax: Axes | None = None, dark: bool | None = None) -> Axes:
    """Draw the output tokens per second over the time of the run, as a stacked plot of the arms.

    For ``ax`` and ``dark`` see :mod:`ipyllm.plots`.

    Parameters
    ----------
    calls : DataFrame, or anything that has one as ``.calls``
        With ``started_at``, ``total_s`` and ``output_tokens``. The tokens of a call are spread evenly from its first
        token to its end. Failed calls are crosses at the bottom. Calls whose tokens the server did not count are left
        out, and the axis says how many.

    Raises
    ------
    LLMError
        ``bad_request``: the start of the calls is unknown.
    """
    import pandas as pd

    observed = observe(calls)
    frame = observed.frame
    if "started_at" not in frame.columns or frame["started_at"].isna().all():
        raise bad_request("These calls have no column started_at, so their throughput over time is unknown.")
    started = pd.to_datetime(frame["started_at"], utc=True)
    start = (started - started.min()).dt.total_seconds().to_numpy()
    # The tokens of a whole answer were generated all the time.
    waited = np.where(frame["whole"], 0.0, np.nan_to_num(frame["ttft_s"].to_numpy()))
    first = start + np.nan_to_num(frame["queue_s"].to_numpy()) + waited
    last = start + frame["total_s"].to_numpy()
    tokens = counted_tokens(frame, "output_tokens").to_numpy()
    ended = ~np.isnan(last) & ~frame["cache_hit"].to_numpy()
    counted = ended & ~np.isnan(tokens)
    n_uncounted = int((ended & np.isnan(tokens)).sum())
    if not counted.any():
        raise bad_request("None of these calls has both an end and a number of output tokens.")
    edges = np.linspace(0, max(float(last[counted].max()), 1e-3), _BINS + 1)
    with themed(dark):
        axes = axes_for(ax, size=(7, 4))
        style = arm_styles(observed.arms)
        arms = frame["arm"].to_numpy()
        rates = [
            _rate(edges, first[mine], last[mine], tokens[mine])
            for mine in (counted & (arms == arm) for arm in observed.arms)
        ]
        # Stacked: the outline is the sum of all arms.
        handles: list[Any] = axes.stackplot(
            edges,
            np.column_stack([np.array(rates)[:, :1], rates]),
            colors=[style[arm].colour for arm in observed.arms],
            hatch=[style[arm].hatch for arm in observed.arms],
            edgecolor=axes.get_facecolor(),
            linewidth=0.6,
            step="pre",
        )
        failed = observed.failed.to_numpy() & ~np.isnan(start)
        if failed.any():
            handles += axes.plot(
                start[failed], np.zeros(failed.sum()), "x", color=text_colour(), clip_on=False, zorder=5
            )
        left_out = f"; {n_uncounted:,} of {ended.sum():,} calls not counted" if n_uncounted else ""
        axes.set(
            xlabel=f"seconds since the first call{left_out}", ylabel="output tokens per second", xlim=(0, edges[-1])
        )
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.25)
        if ax is None:
            legend_below(axes, handles, [*observed.arms, *(["failed calls"] if failed.any() else [])])
    return axes


def _rate(edges: np.ndarray, first: np.ndarray, last: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return tokens per second between the edges."""
    length = np.maximum(last - first, 1e-9)
    tokens_so_far = np.array([(tokens * np.clip((edge - first) / length, 0, 1)).sum() for edge in edges])
    rate: np.ndarray = np.diff(tokens_so_far) / np.diff(edges)
    return rate


def _samples(observed: Observations, measure: Metric) -> dict[str, np.ndarray]:
    values = observed.values(measure).to_numpy()
    arms = observed.frame["arm"].to_numpy()
    samples = {arm: values[(arms == arm) & ~np.isnan(values)] for arm in observed.arms}
    samples = {arm: sample for arm, sample in samples.items() if sample.size}
    if not samples:
        late = ": most were measured late" if observed.mostly_late(measure) else ""
        raise bad_request(f"None of these calls has a valid {measure.label}{late}, so there is nothing to draw.")
    return samples


def _left_out_note(observed: Observations, measure: Metric) -> str:
    """Return a line below the label of an axis: how many calls that have a value are not drawn."""
    if measure.name not in observed.frame:
        return ""
    has_value = observed.frame[measure.name].notna()
    n = int((has_value & observed.values(measure).isna()).sum())
    return f"\n{n:,} of {count(int(has_value.sum()), 'call')} left out (cold, cached, late or failed)" if n else ""


def _why_missing(observed: Observations, measure: Metric, arm: str) -> str:
    return "most calls measured late" if arm in observed.mostly_late(measure) else "no valid call"


def _name_missing_arms(axes: Axes, observed: Observations, measure: Metric, samples: dict[str, np.ndarray]) -> None:
    """Name the arms without a line in the plot."""
    without = [arm for arm in observed.arms if arm not in samples]
    if without:
        names = labels(observed.arms)
        lines = [f"{names[arm]}: {_why_missing(observed, measure, arm)}" for arm in without[:MAX_NAMES]]
        lines += [f"and {len(without) - MAX_NAMES} more"] if len(without) > MAX_NAMES else []
        axes.text(
            0.99, 0.02, "\n".join(lines), transform=axes.transAxes, ha="right", va="bottom", fontsize="small", alpha=0.7
        )


def _points(
    measure: Metric, values: np.ndarray, prompts: np.ndarray, level: float, *, binary: bool
) -> list[tuple[float, bool, tuple[float, float, float]]]:
    """Return the points of an arm's row: vertical shift, whether hollow, and value with limits."""
    if measure.kind not in {"time", "speed"}:
        mean = clustered_mean(values, prompts, level=level, binary=binary)
        return [(0.0, False, (mean.value, mean.low, mean.high))]
    shares = (0.5, 0.95) if measure.kind == "time" else (0.5,)
    return [
        (
            0.0 if len(shares) == 1 else 0.13 * (-1 if share == shares[0] else 1),
            share != shares[0],
            (quantile(values, share), *quantile_interval(values, share, level=level, clusters=prompts)),
        )
        for share in shares
    ]


def _whisker(axes: Axes, y: float, point: tuple[float, float, float], longest: float, colour: str) -> None:
    value, low, high = point
    ends = [value if math.isnan(low) else low, max(value, longest) if math.isnan(high) else high]
    axes.plot(ends, [y, y], color=colour, linewidth=2, solid_capstyle="butt")
    if math.isnan(high) and not math.isnan(low):
        axes.plot(ends[1], y, ">", color=colour, markersize=5)


def _set_time_scale(axes: Axes, values: np.ndarray) -> None:
    """Use a logarithmic axis if the slowest calls are much slower than the fastest."""
    from matplotlib.ticker import LogLocator, NullFormatter

    positive = values[values > 0]
    if positive.size and positive.max() / max(float(np.quantile(positive, 0.05)), 1e-9) > _WIDE_RANGE:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.25)


def _axis_label(measure: Metric) -> str:
    unit = f" ({measure.unit.strip()})" if measure.kind == "time" else " (USD)" if measure.kind == "money" else ""
    return {
        "time": f"{measure.label}{unit}: median, 95th percentile (hollow)",
        "speed": f"{measure.label}: median",
    }.get(measure.kind, f"{measure.label}{unit}: mean".replace("$", r"\$"))
