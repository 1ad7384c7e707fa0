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
    sentences = [sentence for claim in _claims(observed, rows) if (sentence := _sentence(claim, rows))]
    if not sentences:
        return "No score, time or cost is known of more than one arm, so they cannot be compared."
    if any("[" in sentence for sentence in sentences):
        overlap = _OVERLAP if any("overlap" in sentence for sentence in sentences) else ""
        sentences.append(f"Intervals are at {format_level(level)}, each by itself{overlap}.")
    return " ".join(sentences)


@dataclass(frozen=True)
class _Claim:
    """That arms are first in a column: one, some equally, or all; ``{}`` is for their names."""

    column: str
    one: str
    some: str
    all: str
    format: Callable[[float], str]
    lowest: bool = False


def _claims(observed: Observations, rows: dict[str, dict[str, Any]]) -> list[_Claim]:
    first = observed.first_time
    until = first.label.replace("time to", "to the")
    if sum(not math.isnan(row.get(quantile_name(first.name, 0.5), math.nan)) for row in rows.values()) < 2:  # noqa: PLR2004
        first, until = METRICS["total_s"], "in total"
    return [
        *(_of_score(score, lowest=observed.directions[score] is False) for score in observed.scores),
        _Claim(
            quantile_name(first.name, 0.5),
            f"{{}} is fastest {until}, with a median of",
            f"{{}} are equally fast {until}, before the others, with a median of",
            f"{{}} are equally fast {until}, with a median of",
            first.format,
            lowest=True,
        ),
        _Claim(
            "cost_per_call_usd",
            "{} costs least per call, with a mean of",
            "{} cost equally little per call, less than the others, with a mean of",
            "{} cost the same per call, with a mean of",
            money,
            lowest=True,
        ),
    ]


def _of_score(score: str, *, lowest: bool) -> _Claim:
    on, word = f"On {score.removeprefix('score_')}, {{}}", "lowest" if lowest else "highest"
    return _Claim(
        score,
        f"{on} has the {word} mean,",
        f"{on} share the {word} mean,",
        f"{on} have the same mean,",
        number,
        lowest=lowest,
    )


def _sentence(claim: _Claim, rows: dict[str, dict[str, Any]]) -> str:
    column = claim.column
    values = {arm: row[column] for arm, row in rows.items() if not math.isnan(row.get(column, math.nan))}
    if len(values) < 2:  # noqa: PLR2004
        return ""
    best = min(values.values()) if claim.lowest else max(values.values())
    first, *equal = [arm for arm, value in values.items() if math.isclose(value, best, rel_tol=1e-9, abs_tol=1e-12)]
    names = join_names([first, *equal], limit=MAX_NAMES)
    if equal:
        shared = claim.all if len(equal) + 1 == len(values) else claim.some
        return f"{shared.format(names)} {claim.format(best)}."
    limits = rows[first][f"{column}_low"], rows[first][f"{column}_high"]
    text = f"{claim.one.format(names)} {claim.format(best)}"
    if all(map(math.isnan, limits)):
        return f"{text}, without an interval."
    text += format_interval(*limits, claim.format)
    # The limit that faces the other arms, and theirs that faces it.
    near, facing = (limits[1], f"{column}_low") if claim.lowest else (limits[0], f"{column}_high")
    others = {arm: rows[arm][facing] for arm in values if arm != first}
    if math.isnan(near):
        return f"{text}."
    beyond = [arm for arm, limit in others.items() if (limit > near if claim.lowest else limit < near)]
    unknown = [arm for arm, limit in others.items() if math.isnan(limit)]
    overlapping = [arm for arm in others if arm not in beyond and arm not in unknown]
    parts = []
    if beyond:
        parts.append(f"{'below' if claim.lowest else 'above'} {_intervals(beyond)}")
    if overlapping:
        parts.append(f"{_intervals(overlapping)} {'overlaps' if len(overlapping) == 1 else 'overlap'} with it")
    if unknown:
        have = "has" if len(unknown) == 1 else "have"
        parts.append(f"{join_names(unknown, limit=MAX_NAMES)} {have} no limit to compare it with")
    return f"{text}; {'; '.join(parts)}."


def _intervals(arms: list[str]) -> str:
    return f"the {'interval' if len(arms) == 1 else 'intervals'} of {join_names(arms, limit=MAX_NAMES)}"
