"""The conclusion below the summary of arms: which scores highest, is fastest and costs least, and how clearly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.failures import root_categories
from ipyllm.response import name_failure
from ipyllm.statistics.latency_caveats import MAX_NAMES
from ipyllm.statistics.observations import METRICS
from ipyllm.statistics.table import format_interval, format_level
from ipyllm.text.format import join_names, money, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.statistics.observations import Metric, Observations

__all__ = ["arms_conclusion", "quantile_name", "value_column"]

_OVERLAP = "; overlapping ones do not mean equal arms: paired() compares them prompt by prompt"


def quantile_name(metric: str, q: float) -> str:
    """Return the column of a metric's quantile: ``ttft_p50_s``."""
    return f"{metric.removesuffix('_s')}_p{100 * q:g}{'_s' if metric.endswith('_s') else ''}"


def value_column(metric: Metric) -> str:
    """Return the column of the summary with the value by which arms are compared: the mean, of times the median."""
    if metric.kind in {"time", "speed"}:
        return quantile_name(metric.name, 0.5)
    return "cost_per_call_usd" if metric.kind == "money" else metric.name


def arms_conclusion(observed: Observations, rows: dict[str, dict[str, Any]], level: float) -> str:
    """Return what the rows of the arms show, in sentences."""
    if observed.failed.all():
        kinds = root_categories(observed.frame).dropna()
        n = len(observed.frame)
        mostly = "" if len(kinds) == n and kinds.nunique() == 1 else ", mostly"
        why = f"{mostly} with {name_failure(kinds.mode().iloc[0])}" if len(kinds) else ""
        return f"{f'All {n:,} calls' if n > 1 else 'The only call'} failed{why}: there is nothing to compare."
    if len(rows) == 1:
        return (
            f"There is one arm, {observed.arms[0]}: the figures describe it with intervals at {format_level(level)}; "
            "there is nothing to compare it with."
        )
    sentences = [sentence for claim in _claims(observed, rows) if (sentence := _sentence(claim, rows, observed))]
    if not sentences:
        return "No score, time or cost is known of more than one arm, so they cannot be compared."
    if any("[" in sentence for sentence in sentences):
        overlap = _OVERLAP if any("overlap" in sentence for sentence in sentences) else ""
        sentences.append(f"Intervals are at {format_level(level)}, each by itself{overlap}.")
    return " ".join(sentences)


@dataclass(frozen=True)
class _Claim:
    """That an arm is first in a column.

    Attributes
    ----------
    column : str
        Of the summary.
    noun : str
        Name of its values.
    clear : tuple of str
        What is said of the first of two arms, and of more, if its interval overlaps with none: ``{}`` is for its name.
    question : tuple of str
        End of "which arm …", likewise.
    before : str
        Beginning of a sentence that says less.
    """

    column: str
    noun: str
    clear: tuple[str, str]
    question: tuple[str, str]
    format: Callable[[float], str]
    lowest: bool = False
    before: str = ""


def _claims(observed: Observations, rows: dict[str, dict[str, Any]]) -> list[_Claim]:
    first = observed.first_time
    noun, until = f"median {first.label}", first.label.replace("time to", "to the")
    if sum(not math.isnan(row.get(quantile_name(first.name, 0.5), math.nan)) for row in rows.values()) < 2:  # noqa: PLR2004
        first, noun, until = METRICS["total_s"], "median total time", "in total"
    return [
        *(_of_score(score, lowest=observed.directions[score] is False) for score in observed.scores),
        _Claim(
            quantile_name(first.name, 0.5),
            noun,
            (f"{{}} is faster {until}, with a median of", f"{{}} is fastest {until}, with a median of"),
            (f"is faster {until}", f"is fastest {until}"),
            first.format,
            lowest=True,
        ),
        _Claim(
            "cost_per_call_usd",
            "mean cost per call",
            ("{} costs less per call, with a mean of", "{} costs least per call, with a mean of"),
            ("costs less per call", "costs least per call"),
            money,
            lowest=True,
        ),
    ]


def _of_score(score: str, *, lowest: bool) -> _Claim:
    name = score.removeprefix("score_")
    of_two, of_more = ("lower", "lowest") if lowest else ("higher", "highest")
    return _Claim(
        score,
        "mean",
        (f"On {name}, {{}} has the {of_two} mean,", f"On {name}, {{}} has the {of_more} mean,"),
        (f"has the {of_two} mean on {name}", f"has the {of_more} mean on {name}"),
        number,
        lowest=lowest,
        before=f"On {name}, ",
    )


def _sentence(claim: _Claim, rows: dict[str, dict[str, Any]], observed: Observations) -> str:
    column = claim.column
    values = {arm: row[column] for arm, row in rows.items() if not math.isnan(row.get(column, math.nan))}
    if len(values) < 2:  # noqa: PLR2004
        return ""
    best = min(values.values()) if claim.lowest else max(values.values())
    first, *equal = [arm for arm, value in values.items() if math.isclose(value, best, rel_tol=1e-9, abs_tol=1e-12)]
    names = join_names([first, *equal], limit=MAX_NAMES)
    if claim.column == "cost_per_call_usd" and best == 0:
        where = " where the cost is known" if any(rows[arm]["cost_unknown"] for arm in (first, *equal)) else ""
        return f"{names} {'cost' if equal else 'costs'} nothing{where}."
    if len(equal) + 1 == len(values):
        return f"{claim.before}{names} have the same {claim.noun}, {claim.format(best)}."
    # The limit that faces the other arms, and theirs that faces it.
    inner, outer = ("high", "low") if claim.lowest else ("low", "high")
    facing = {arm: rows[arm][f"{column}_{inner if arm in {first, *equal} else outer}"] for arm in values}
    unknown = [arm for arm, limit in facing.items() if math.isnan(limit)]
    of_more = len(values) > 2  # noqa: PLR2004
    if {first, *equal} & {*unknown} or len(unknown) == len(values) - 1 - len(equal):
        return _not_told(claim, {arm: values[arm] for arm in unknown}, observed, of_more=of_more)
    if equal:
        degree = "lowest" if claim.lowest else "highest"
        return f"{claim.before}{names} share the {degree} {claim.noun}, {claim.format(best)}."
    near = facing.pop(first)
    beyond = [arm for arm, limit in facing.items() if (limit > near if claim.lowest else limit < near)]
    overlapping = [arm for arm in facing if arm not in beyond and arm not in unknown]
    parts = []
    if beyond:
        parts.append(f"{'below' if claim.lowest else 'above'} {_intervals(beyond)}")
    if overlapping:
        parts.append(f"{_intervals(overlapping)} {'overlaps' if len(overlapping) == 1 else 'overlap'} with it")
    if unknown:
        parts.append(f"{join_names(unknown, limit=MAX_NAMES)} {'has' if len(unknown) == 1 else 'have'} no interval")
    if len(beyond) == len(facing):
        start = claim.clear[of_more].format(first)
    else:
        degree = ("low" if claim.lowest else "high") + ("est" if of_more else "er")
        start = f"{claim.before}{first} has the {degree} {claim.noun},"
    interval = format_interval(rows[first][f"{column}_low"], rows[first][f"{column}_high"], claim.format)
    return f"{start} {claim.format(best)}{interval}; {'; '.join(parts)}."


def _not_told(claim: _Claim, without: dict[str, float], observed: Observations, *, of_more: bool) -> str:
    """Say why arms are not compared in a column, where these, with their values, are without an interval."""
    which = f"which arm {claim.question[of_more]}"
    if claim.noun.startswith("median"):
        return f"There are too few calls to tell {which}."
    metric = METRICS["cost_usd"] if claim.column == "cost_per_call_usd" else observed.metric(claim.column)
    prompts = (observed.by_prompt(observed.values(metric).to_numpy())[1] > 0).sum(axis=1)
    if any(prompts[observed.arms.index(arm)] < 2 for arm in without):  # noqa: PLR2004
        return f"There are too few prompts to tell {which}."
    values = join_names([f"{claim.format(value)} of {arm}" for arm, value in without.items()], limit=MAX_NAMES)
    return (
        f"It cannot be told {which}: the mean of an arm is the same for every prompt ({values}), which gives no "
        "interval; paired() compares arms prompt by prompt."
    )


def _intervals(arms: list[str]) -> str:
    return f"the {'interval' if len(arms) == 1 else 'intervals'} of {join_names(arms, limit=MAX_NAMES)}"
