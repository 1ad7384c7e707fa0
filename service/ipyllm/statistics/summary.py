"""``summarise_arms()``: one row per arm with calls, times, cost and scores, and their intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ipyllm.dataframes.call_totals import counted, is_uncounted
from ipyllm.statistics.caveats import MAX_NAMES, caveats
from ipyllm.statistics.means import clustered_mean
from ipyllm.statistics.observations import METRICS, Observations, observe
from ipyllm.statistics.quantiles import calls_for_upper_limit, check_share, quantile, quantile_interval
from ipyllm.statistics.table import StatisticsFrame
from ipyllm.text.format import count, join_names, number

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["summarise_arms"]

_METRICS = ("ttft_s", "total_s", "output_tps", "cost_usd")
_TOKENS = ("input_tokens", "output_tokens")
_QUANTILES = (("ttft_s", 0.5), ("ttft_s", 0.95), ("total_s", 0.5), ("total_s", 0.95), ("output_tps", 0.5))


def summarise_arms(calls: Any, *, level: float = 0.95, quantiles: tuple[float, ...] | None = None) -> StatisticsFrame:
    """Return one row per arm: calls, errors, scores, times and cost, with intervals.

    Parameters
    ----------
    calls : DataFrame, or anything that has one as ``.calls``
        One row per call: ``arm`` (or ``model``), ``status``, ``prompt_id``, the columns of ``usage()`` and any
        ``score_…``. Warm-ups are left out.
    level : float
        Confidence of every interval.
    quantiles : tuple of float, optional
        Quantiles of ``ttft_s`` and ``total_s``, for example ``(0.5, 0.9, 0.95, 0.99)``. By default the median and
        the 95th percentile.

    Returns
    -------
    StatisticsFrame
        Index ``arm``. ``n`` calls, ``prompts``, ``errors`` (status ``error`` or ``truncated``), ``refused`` by the
        model, ``left_out`` of the times by :func:`~ipyllm.dataframes.latency_filter.counts_in_latency`; each score's
        mean with its interval (``…_low``, ``…_high``) and ``…_n``, its number of calls; ``ttft_p50_s`` and so on with
        their intervals;
        ``output_tps_p50``; ``input_tokens`` and ``output_tokens`` as counted by the server, and ``uncounted``, the
        calls without such a count, which are not in these sums; ``cost_usd`` of all calls and ``cost_unknown``, the
        calls of unknown cost, which are not in that sum; ``cost_per_call_usd``, the mean cost of ``cost_per_call_n``
        calls, those that were paid for at a known cost. Unknown values are null, and so are limits that need more
        calls.

    Notes
    -----
    Quantiles: :func:`~ipyllm.statistics.quantile_interval`. Scores: :func:`~ipyllm.statistics.clustered_mean`.
    Both allow for dependence between calls of the same prompt.

    Raises
    ------
    LLMError
        ``bad_request``: there are no calls, or no arms.

    Examples
    --------
    >>> calls = pd.DataFrame(
    ...     {"arm": ["a", "a", "b", "b"], "prompt_id": [1, 2, 1, 2], "status": "ok", "score_exact": [1, 0, 1, 1]}
    ... )
    >>> summarise_arms(calls)["score_exact"].to_dict()
    {'a': 0.5, 'b': 1.0}
    """
    check_share(level, "level")
    observed = observe(calls)
    wanted = _QUANTILES if quantiles is None else _selected_quantiles(quantiles)
    frame = observed.frame
    # Each metric is computed once for all calls, then split by arm: a million calls take about two seconds.
    of_arm = {str(arm): rows for arm, rows in frame.groupby("arm", observed=False).indices.items()}
    columns: dict[str, np.ndarray] = {name: observed.values(METRICS[name]).to_numpy() for name in _METRICS}
    columns |= {score: frame[score].to_numpy() for score in observed.scores}
    columns |= {name: counted(frame, name).to_numpy() for name in _TOKENS}
    columns |= {
        "prompt": frame["prompt"].to_numpy(),
        "failed": observed.failed.to_numpy(),
        "refused": frame["refused"].to_numpy(),
        "timed": observed.timed.to_numpy(),
        "uncounted": is_uncounted(frame).to_numpy(),
        "paid": frame["cost_usd"].to_numpy(),
    }
    rows = {
        arm: _row({name: column[of_arm[arm]] for name, column in columns.items()}, wanted, observed.scores, level)
        for arm in observed.arms
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm")
    for name in _TOKENS:
        table[name] = table[name].astype("Float64").round().astype("Int64")
    notes = [*caveats(observed), *_open_limits(rows, wanted, level)]
    return StatisticsFrame.of(table, _conclusion(observed, rows, level), notes)


def _row(
    columns: dict[str, np.ndarray], wanted: tuple[tuple[str, float], ...], scores: list[str], level: float
) -> dict[str, Any]:
    """Return the row of one arm."""
    prompts = columns["prompt"]
    row: dict[str, Any] = {
        "n": prompts.size,
        "prompts": int(np.unique(prompts).size),
        "errors": int(columns["failed"].sum()),
        "refused": int(columns["refused"].sum()),
        "left_out": int((~columns["timed"]).sum()),
    }
    for score in scores:
        mean = clustered_mean(columns[score], prompts, level=level)
        row |= {score: mean.value, f"{score}_low": mean.low, f"{score}_high": mean.high, f"{score}_n": mean.n}
    for metric, q in wanted:
        name = _column_name(metric, q)
        interval = quantile_interval(columns[metric], q, level=level, clusters=prompts)
        row |= {name: quantile(columns[metric], q), f"{name}_low": interval.low, f"{name}_high": interval.high}
    for name in _TOKENS:
        row[name] = _reduce_known(np.sum, columns[name])
    row["uncounted"] = int(columns["uncounted"].sum())
    row["cost_usd"] = _reduce_known(np.sum, columns["paid"])
    row["cost_unknown"] = int(np.isnan(columns["paid"]).sum())
    row["cost_per_call_usd"] = _reduce_known(np.mean, columns["cost_usd"])
    row["cost_per_call_n"] = int((~np.isnan(columns["cost_usd"])).sum())
    return row


def _selected_quantiles(quantiles: tuple[float, ...]) -> tuple[tuple[str, float], ...]:
    return (*((metric, q) for metric in ("ttft_s", "total_s") for q in quantiles), ("output_tps", 0.5))


def _column_name(metric: str, q: float) -> str:
    return f"{metric.removesuffix('_s')}_p{100 * q:g}{'_s' if metric.endswith('_s') else ''}"


def _reduce_known(function: Callable[[np.ndarray], Any], values: np.ndarray) -> float:
    """Return the sum or mean of the known values; NaN, not 0, if there are none."""
    known = values[~np.isnan(values)]
    return float(function(known)) if known.size else math.nan


def _open_limits(rows: dict[str, dict[str, Any]], wanted: tuple[tuple[str, float], ...], level: float) -> list[str]:
    found = []
    for q in sorted({q for metric, q in wanted if metric.endswith("_s")}):
        names = [_column_name(metric, at) for metric, at in wanted if at == q and metric.endswith("_s")]
        without = [
            arm
            for arm, row in rows.items()
            if any(not math.isnan(row[name]) and math.isnan(row[f"{name}_high"]) for name in names)
        ]
        if without:
            found.append(
                f"The p{100 * q:g} of {join_names(without, limit=MAX_NAMES)} has no upper confidence limit at "
                f"{level:.0%}: that takes {calls_for_upper_limit(q, level=level)} independent calls."
            )
    return found


def _conclusion(observed: Observations, rows: dict[str, dict[str, Any]], level: float) -> str:
    if observed.failed.all():
        kinds = observed.frame.get("error_category", pd.Series(dtype=object)).dropna()
        why = f", mostly with {kinds.mode().iloc[0]}" if len(kinds) else ""
        return f"All {count(len(observed.frame), 'call')} failed{why}: there is nothing to compare."
    if len(rows) == 1:
        return (
            f"There is one arm, {observed.arms[0]}: the figures describe it with intervals at {level:.0%}; "
            "there is nothing to compare it with."
        )
    found = [
        *(_best(rows, score, lowest=observed.directions[score] is False) for score in observed.scores),
        _fastest(rows),
    ]
    sentences = [sentence for sentence in found if sentence]
    if not sentences:
        return "No two arms have scores or times, so they cannot be compared."
    return " ".join(
        [*sentences, "Overlapping intervals do not mean equal arms: paired() compares them prompt by prompt."]
    )


def _best(rows: dict[str, dict[str, Any]], score: str, *, lowest: bool) -> str:
    means = {arm: row[score] for arm, row in rows.items() if not math.isnan(row[score])}
    if len(means) < 2:  # noqa: PLR2004
        return ""
    label, word = score.removeprefix("score_"), "lowest" if lowest else "highest"
    best = min(means.values()) if lowest else max(means.values())
    first = [arm for arm, mean in means.items() if math.isclose(mean, best, abs_tol=1e-12)]
    rest = [arm for arm in means if arm not in first]
    if not rest:
        return f"On {label} all arms have the same mean, {number(best)}."
    low, high = rows[first[0]][f"{score}_low"], rows[first[0]][f"{score}_high"]
    if len(first) > 1:
        return f"On {label} {join_names(first, limit=MAX_NAMES)} share the {word} mean, {number(best)}."
    sentence = f"On {label} {first[0]} has the {word} mean, {number(best)}"
    if math.isnan(low):
        return f"{sentence}, without an interval."
    sentence += f" [{number(low)}, {number(high)}]"
    apart = {arm: rows[arm][f"{score}_low"] > high if lowest else rows[arm][f"{score}_high"] < low for arm in rest}
    close = [arm for arm in rest if not apart[arm]]
    if close:
        return f"{sentence}; {_intervals(close)} {'overlap' if len(close) > 1 else 'overlaps'} with it."
    return f"{sentence}, {'below' if lowest else 'above'} {_intervals(rest)}."


def _intervals(arms: list[str]) -> str:
    return f"the {'intervals' if len(arms) > 1 else 'interval'} of {join_names(arms, limit=MAX_NAMES)}"


def _fastest(rows: dict[str, dict[str, Any]]) -> str:
    medians = {arm: row.get("ttft_p50_s", math.nan) for arm, row in rows.items()}
    medians = {arm: median for arm, median in medians.items() if not math.isnan(median)}
    if len(medians) < 2:  # noqa: PLR2004
        return ""
    arm = min(medians, key=lambda name: medians[name])
    clear = all(rows[other]["ttft_p50_s_low"] > rows[arm]["ttft_p50_s_high"] for other in medians if other != arm)
    return (
        f"{arm} is fastest to the first token, with a median of {number(medians[arm])} s"
        f"{', below the interval of any other arm.' if clear else '; intervals overlap.'}"
    )
