"""``summarise_arms()``: one row per arm with calls, times, cost and scores, and their intervals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ipyllm.dataframes.call_totals import counted, is_uncounted
from ipyllm.errors import bad_request
from ipyllm.statistics.arms_conclusion import arms_conclusion, quantile_name
from ipyllm.statistics.caveats import MAX_NAMES, caveats
from ipyllm.statistics.means import Mean, clustered_mean, pass_at_k
from ipyllm.statistics.observations import METRICS, Observations, by_value, observe
from ipyllm.statistics.quantiles import calls_for_upper_limit, check_share, quantile, quantile_interval
from ipyllm.statistics.table import StatisticsFrame, format_level
from ipyllm.text.format import join_names

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["summarise_arms"]

_METRICS = ("ttft_s", "ttfo_s", "thinking_s", "total_s", "output_tps", "cost_usd")
_COST = "cost_per_call_usd"
_TOKENS = ("input_tokens", "output_tokens", "visible_tokens")
_QUANTILES = (0.5, 0.95)


def summarise_arms(
    calls: Any,
    *,
    level: float = 0.95,
    quantiles: tuple[float, ...] | None = None,
    pass_at: tuple[int, ...] = (),
    sort: str | None = None,
) -> StatisticsFrame:
    """Return one row per arm: calls, errors, scores, times and cost, with intervals.

    Scores count for each of the equal rows that a call answered (column ``n_rows`` of an experiment's calls): they are
    one cluster, so that equal rows change the mean, but do not narrow its interval. All else is by call.

    Parameters
    ----------
    calls : DataFrame, or anything that has one as ``.calls``
        One row per call: ``arm`` (or ``model``), ``status``, ``prompt_id``, the columns of ``usage()`` and any
        ``score_…``. Warm-ups are left out.
    level : float
        Confidence of every interval.
    quantiles : tuple of float, optional
        Quantiles of first and total times, for example ``(0.5, 0.9, 0.95, 0.99)``. By default the median and the 95th
        percentile.
    pass_at : tuple of int, optional
        For each k, pass@k of every score that is 0 or 1: the probability that at least one of k answers to a prompt is
        right (:func:`~ipyllm.statistics.pass_at_k`), over the prompts with at least k scored answers.
    sort : str, optional
        A metric, such as ``"exact"``, ``"ttft_s"`` or ``"cost_usd"``, by whose value the arms stand, the best first
        (the highest, where neither is better); ``"value"`` for the first score, or without one the first times. By
        default arms stand in the order of the call.

    Returns
    -------
    StatisticsFrame
        Index ``arm``. ``n`` calls, ``prompts``, ``errors`` (status ``error`` or ``truncated``), ``refused`` by the
        model, ``cut`` answers (off at ``max_tokens``, empty ones too), ``left_out`` of the first times by
        :func:`~ipyllm.dataframes.latency_filter.counts_in_latency`; each score's mean with its interval (``…_low``,
        ``…_high``) and ``…_n``, its number of scored rows, and ``…_pass_at_k``; ``ttft_p50_s`` and so on with their
        intervals; ``output_tps_p50``; ``input_tokens`` and ``output_tokens`` as counted by the server, and
        ``uncounted``, the calls without such a count, which are not in these sums; ``cost_usd`` of all calls and
        ``cost_unknown``, the calls of unknown cost, which are not in that sum; ``cost_per_call_usd``, the mean cost of
        ``cost_per_call_n`` calls, those that were paid for at a known cost. Unknown values are null, and so are
        limits that need more calls, and quantiles where most calls of the arm were measured late.

        Where a model reasons, also ``ttfo_p50_s`` and so on (time to first visible text, by which arms are compared),
        ``thinking_p50_s``, and ``visible_tokens``, the output without reasoning.

    Notes
    -----
    Quantiles: :func:`~ipyllm.statistics.quantile_interval`. Means: :func:`~ipyllm.statistics.clustered_mean`.
    Both allow for dependence between calls of the same prompt.

    Raises
    ------
    LLMError
        ``bad_request``: there are no calls, or no arms; ``pass_at`` without a score of 0 and 1; or ``sort`` by what is
        no metric of these calls.

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
    reasons = bool(observed.frame["reasoned"].any())
    wanted = _wanted_quantiles(_QUANTILES if quantiles is None else quantiles, reasons=reasons)
    tokens = _TOKENS if reasons else _TOKENS[:2]
    frame = observed.frame
    # Each metric is computed once for all calls, then split by arm: a million calls take about two seconds.
    of_arm = {str(arm): rows for arm, rows in frame.groupby("arm", observed=False).indices.items()}
    columns: dict[str, np.ndarray] = {name: observed.values(METRICS[name]).to_numpy() for name in _METRICS}
    columns |= {score: frame[score].to_numpy() for score in observed.scores}
    columns |= {name: counted(frame, name).to_numpy() for name in tokens}
    columns |= {
        "prompt": frame["prompt"].to_numpy(),
        "n_rows": frame["n_rows"].to_numpy(),
        "failed": observed.failed.to_numpy(),
        "refused": frame["refused"].to_numpy(),
        "cut": observed.cut.to_numpy(),
        "left_out": observed.left_out.to_numpy(),
        "uncounted": is_uncounted(frame).to_numpy(),
        "paid": frame["cost_usd"].to_numpy(),
    }
    by_arm = {arm: {name: column[of_arm[arm]] for name, column in columns.items()} for arm in observed.arms}
    tries = {f"{score}_pass_at_{k}": (score, k) for score, k in _tries(observed, pass_at)}
    binary = {score: observed.is_binary(observed.metric(score)) for score in observed.scores}
    means = {arm: _means(of, binary, tries, level) for arm, of in by_arm.items()}
    rows = {arm: _row(of, means[arm], wanted, tokens, level) for arm, of in by_arm.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm")
    if sort is not None:
        table = table.loc[_by_value(observed, rows, wanted, sort)]
    for name in tokens:
        table[name] = table[name].astype("Float64").round().astype("Int64")
    notes = [*_too_few_tries(means, tries), *_heavy_tails(means), *_open_limits(rows, wanted, level)]
    return StatisticsFrame.of(table, arms_conclusion(observed, rows, level), [*caveats(observed), *notes])


def _by_value(
    observed: Observations, rows: dict[str, dict[str, Any]], wanted: tuple[tuple[str, float], ...], sort: str
) -> list[str]:
    """Return the arms, the best first on the metric ``sort``: by its mean, its first quantile, or its share."""
    known = observed.metrics()
    if sort == "value" and not known:
        return list(rows)
    metric = known[0] if sort == "value" else observed.metric(sort)
    column = next((quantile_name(name, q) for name, q in wanted if name == metric.name), metric.name)
    column = _COST if metric.kind == "money" else column
    if any(column not in row for row in rows.values()):
        raise bad_request(f"Arms cannot stand by {metric.label}, of which this table has no column.")
    of_n = metric.kind == "errors"
    values = {arm: row[column] / row["n"] if of_n else float(row[column]) for arm, row in rows.items()}
    return by_value(values, metric, "value")


def _tries(observed: Observations, pass_at: tuple[int, ...]) -> list[tuple[str, int]]:
    """Return the scores of 0 and 1 with each k of pass@k."""
    right_or_wrong = [score for score in observed.scores if observed.is_binary(observed.metric(score))]
    if pass_at and not right_or_wrong:
        raise bad_request("pass_at needs a score that is 0 or 1 for each call, but there is none.")
    return [(score, k) for score in right_or_wrong for k in pass_at]


def _means(
    columns: dict[str, np.ndarray], binary: dict[str, bool], tries: dict[str, tuple[str, int]], level: float
) -> dict[str, Mean]:
    """Return the means of one arm: its scores, pass@k and cost, by name of the column."""
    prompts, n_rows = columns["prompt"], columns["n_rows"]
    means = {
        score: clustered_mean(
            np.repeat(columns[score], n_rows), np.repeat(prompts, n_rows), level=level, binary=binary[score]
        )
        for score in binary
    }
    for name, (score, k) in tries.items():
        known = ~np.isnan(columns[score])
        n = np.bincount(prompts[known])
        right = np.bincount(prompts[known], weights=columns[score][known]).astype(int)
        enough = np.flatnonzero(n >= k)
        passed = [pass_at_k(int(n[i]), int(right[i]), k) for i in enough]
        rows_of = np.zeros(n.size, dtype=int)
        rows_of[prompts[known]] = n_rows[known]
        means[name] = clustered_mean(
            np.repeat(passed, rows_of[enough]), np.repeat(enough, rows_of[enough]), level=level
        )
    cost = clustered_mean(columns["cost_usd"], prompts, level=level, binary=False)
    return {**means, _COST: replace(cost, low=0.0) if cost.low < 0 else cost}


def _row(
    columns: dict[str, np.ndarray],
    means: dict[str, Mean],
    wanted: tuple[tuple[str, float], ...],
    tokens: tuple[str, ...],
    level: float,
) -> dict[str, Any]:
    """Return the row of one arm."""
    prompts = columns["prompt"]
    row: dict[str, Any] = {
        "n": prompts.size,
        "prompts": int(np.unique(prompts).size),
        "errors": int(columns["failed"].sum()),
        "refused": int(columns["refused"].sum()),
        "cut": int(columns["cut"].sum()),
        "left_out": int(columns["left_out"].sum()),
    }
    for name, mean in means.items():
        if name != _COST:
            row |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high, f"{name}_n": mean.n}
    for metric, q in wanted:
        name = quantile_name(metric, q)
        interval = quantile_interval(columns[metric], q, level=level, clusters=prompts)
        row |= {name: quantile(columns[metric], q), f"{name}_low": interval.low, f"{name}_high": interval.high}
    for name in tokens:
        row[name] = _sum_known(columns[name])
    row["uncounted"] = int(columns["uncounted"].sum())
    row["cost_usd"] = _sum_known(columns["paid"])
    row["cost_unknown"] = int(np.isnan(columns["paid"]).sum())
    cost = means[_COST]
    row |= {_COST: cost.value, f"{_COST}_low": cost.low, f"{_COST}_high": cost.high}
    return row | {"cost_per_call_n": cost.n}


def _wanted_quantiles(quantiles: tuple[float, ...], *, reasons: bool) -> tuple[tuple[str, float], ...]:
    """Return the metrics and quantiles of the table, in the order of its columns."""
    first_times = ("ttfo_s", "ttft_s") if reasons else ("ttft_s",)
    thinking = (("thinking_s", 0.5),) if reasons else ()
    of_times = [(metric, q) for metric in (*first_times, "total_s") for q in quantiles]
    return (*of_times, *thinking, ("output_tps", 0.5))


def _sum_known(values: np.ndarray) -> float:
    """Return the sum of the known values; NaN, not 0, if there are none."""
    known = values[~np.isnan(values)]
    return float(known.sum()) if known.size else math.nan


def _too_few_tries(means: dict[str, dict[str, Mean]], tries: dict[str, tuple[str, int]]) -> Iterator[str]:
    for name, (score, k) in tries.items():
        without = [arm for arm, of_arm in means.items() if not of_arm[name].n]
        if without:
            yield (
                f"No prompt of {join_names(without, limit=MAX_NAMES)} has {k} answers with a score of "
                f"{score.removeprefix('score_')}, so there is no pass@{k}."
            )


def _heavy_tails(means: dict[str, dict[str, Mean]]) -> Iterator[str]:
    names = list(dict.fromkeys(name for of_arm in means.values() for name in of_arm))
    for name in names:
        arms = [arm for arm, of_arm in means.items() if of_arm[name].heavy_tail]
        if arms:
            label = "cost per call" if name == _COST else name.removeprefix("score_")
            yield (
                f"A few values far from the others decide the mean {label} of {join_names(arms, limit=MAX_NAMES)}: the "
                "interval misses the true mean more often than it should."
            )


def _open_limits(rows: dict[str, dict[str, Any]], wanted: tuple[tuple[str, float], ...], level: float) -> Iterator[str]:
    """Say in one sentence which quantiles have no upper limit, and how many calls that takes."""
    found = []
    for q in sorted({q for metric, q in wanted if metric.endswith("_s")}):
        names = [quantile_name(metric, at) for metric, at in wanted if at == q and metric.endswith("_s")]
        without = [
            arm
            for arm, row in rows.items()
            if any(not math.isnan(row[name]) and math.isnan(row[f"{name}_high"]) for name in names)
        ]
        if without:
            least = calls_for_upper_limit(q, level=level)
            found.append(f"{least:,} for the p{100 * q:g} ({join_names(without, limit=MAX_NAMES)})")
    if found:
        yield (
            f"An interval that ends in … has no upper limit: at {format_level(level)} it takes more independent calls, "
            f"{join_names(found)}."
        )
