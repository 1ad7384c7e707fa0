"""The headline of a report: which arm is best, by how much, how sure that is, and what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ipyllm.statistics.arms_conclusion import value_column
from ipyllm.statistics.caveats import MAX_NAMES
from ipyllm.statistics.observations import METRICS, by_value
from ipyllm.statistics.pairs import compare_pairs, prompt_means
from ipyllm.statistics.table import format_level
from ipyllm.text.format import count, join_names, money, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from ipyllm.statistics.observations import Metric, Observations
    from ipyllm.statistics.table import StatisticsFrame

__all__ = ["amount", "arm_values", "difference_amount", "headline"]

_SHOWN = {"better", "higher"}
_TWICE = 2
_SAME = 0.005  # shares of a cost that are shown as the same


def headline(
    observed: Observations,
    primary: Sequence[Metric],
    summary: StatisticsFrame,
    pairs: StatisticsFrame | None,
    *,
    level: float = 0.95,
) -> list[str]:
    """Return short sentences about the first primary metric, the costs, what is found on further ones, and failures.

    Parameters
    ----------
    observed : Observations
        The calls.
    primary : sequence of Metric
        The primary metrics, of which the first decides.
    summary, pairs : StatisticsFrame
        Of :func:`~ipyllm.statistics.summarise_arms` and :func:`~ipyllm.statistics.paired`; None for a single arm.
    level : float
        Confidence of the intervals of ``pairs``.

    Notes
    -----
    An arm is called best where its differences from all others exclude 0: from the baseline in ``pairs``, and from the
    others as many times corrected. If another arm is the best in truth, some arm seems better than that one with a
    probability of at most ``1 - level``, so that this is the largest probability of a wrong name (Hsu 1996, *Multiple
    Comparisons*, ch. 4).
    """
    if observed.failed.all():
        return [summary.conclusion]
    if not primary:
        return ["No score, time or cost of these calls is known, so they cannot be compared."]
    findings = _Findings(observed, primary, summary, pairs, level)
    return [*findings.sentences(), *_different_prompts(observed), *_failures(observed)]


def arm_values(observed: Observations, metric: Metric, summary: pd.DataFrame) -> dict[str, float]:
    """Return the value of each arm by which arms are compared: mean, share or median; NaN where it is unknown."""
    if metric.kind == "errors":
        return dict((summary["errors"] / summary["n"]).astype(float))
    column = value_column(metric)
    values = summary[column].astype(float) if column in summary.columns else dict.fromkeys(observed.arms, math.nan)
    return {str(arm): float(value) for arm, value in dict(values).items()}


def amount(observed: Observations, metric: Metric, value: float) -> str:
    """Format a value, shares as percentages."""
    return f"{number(100 * value)}%" if observed.is_binary(metric) else metric.format(value)


def difference_amount(observed: Observations, metric: Metric, value: float, *, with_unit: bool = True) -> str:
    """Format a difference, of shares in percentage points."""
    if not observed.is_binary(metric):
        return metric.format(value)
    return f"{number(100 * value)}{' points' if with_unit else ''}"


@dataclass(frozen=True)
class _Findings:
    """What is found on the first primary metric."""

    observed: Observations
    primary: Sequence[Metric]
    summary: StatisticsFrame
    pairs: StatisticsFrame | None
    level: float

    @property
    def metric(self) -> Metric:
        return self.primary[0]

    @cached_property
    def values(self) -> dict[str, float]:
        """The known values, the best first."""
        values = arm_values(self.observed, self.metric, self.summary)
        known = {arm: values[arm] for arm in self.observed.arms if not math.isnan(values[arm])}
        return {arm: known[arm] for arm in by_value(known, self.metric, "value")}

    @property
    def best(self) -> str:
        return next(iter(self.values))

    @cached_property
    def rivals(self) -> list[str]:
        """The arms that may be as good as the best."""
        means = prompt_means(self.observed, self.metric)
        comparisons = (len(self.observed.arms) - 1) * len(self.primary)

        def is_beaten(arm: str) -> bool:
            row = self._row(arm)
            if row is not None:
                return row["verdict"] in _SHOWN
            found = compare_pairs(
                means,
                self.metric,
                self.best,
                arm,
                level=self.level,
                comparisons=comparisons,
                with_detectable=False,
            )
            return found.verdict in _SHOWN

        return [arm for arm in self.values if arm != self.best and not is_beaten(arm)]

    def sentences(self) -> Iterator[str]:
        if not self.values:
            yield f"No {self.metric.label} is known of these calls, so they cannot be compared."
            return
        value = amount(self.observed, self.metric, self.values[self.best])
        arms = count(len(self.values), "arm")
        if self.pairs is None:
            yield f"{self.best} has {self._of_metric} of {value}{self._own_interval()}."
            yield "There is no other arm to compare it with."
        elif len(self.values) == 1:
            yield f"Only {self.best} has {self._of_metric}: {value}."
        elif not self.rivals:
            of = f" of {arms}" if len(self.values) > 2 else ""  # noqa: PLR2004
            yield f"{self.best} {self._superlative(of)}: {value}{self._by_how_much()}."
        else:
            yield f"It cannot be told which of {arms} {self._superlative('')}."
            reference = self._reference
            ahead = "" if reference in self.rivals else self._by_how_much()
            equal = [arm for arm in self.rivals if amount(self.observed, self.metric, self.values[arm]) == value]
            others = [arm for arm in self.rivals if arm not in equal]
            leaders = join_names([self.best, *equal], limit=MAX_NAMES)
            if others:
                names = others if len(others) <= MAX_NAMES else [f"{len(others)} others"]
                leads = "lead" if equal else "leads"
                yield f"{leaders} {leads} with {value}{ahead}, but {join_names(names)} may be as good."
            else:
                yield f"{leaders} have the same {self._name}, {value}{ahead}."
            if reference in self.rivals and (limits := self._limits(reference)):
                yield f"{self.best} minus {reference} lies between {limits}."
        if self.metric.higher_is_better is None:
            yield "Nothing says whether higher is better."
        if self.values and self.metric.kind != "money":
            yield self._cost()
        missing = [arm for arm in self.observed.arms if arm not in self.values]
        if missing and len(self.values) > 1:
            yield f"No {self.metric.label} is known of {join_names(missing, limit=MAX_NAMES)}."
        yield from self._of_other_metrics()

    def _of_other_metrics(self) -> Iterator[str]:
        """Say which arms differ from the baseline on further primary metrics."""
        if self.pairs is None:
            return
        for metric in self.primary[1:]:
            rows = self.pairs.loc[[metric.name]].droplevel("metric")
            groups = {
                str(verdict): join_names([str(arm) for arm in found.index], limit=MAX_NAMES)
                + (" is" if len(found) == 1 else " are")
                for verdict, found in rows.groupby("verdict", sort=False)
                if verdict in {"better", "worse", "higher", "lower"}
            }
            if groups:
                parts = "; ".join(f"{arms} {verdict}" for verdict, arms in groups.items())
                yield f"On {metric.label}, {parts} than {self.pairs['baseline'].iloc[0]}."

    @property
    def _of_metric(self) -> str:
        return f"{'an' if self._name[0] in 'aeiou' else 'a'} {self._name}"

    @property
    def _name(self) -> str:
        return f"score on {self.metric.label}" if self.metric.kind == "score" else self.metric.label

    def _superlative(self, of: str) -> str:
        label, of_two = self.metric.label, len(self.values) == 2  # noqa: PLR2004
        if self.metric.higher_is_better is None:
            return f"has the {'higher' if of_two else 'highest'} mean {label}{of}"
        fastest = f"is {'faster' if of_two else 'fastest'}{of} by {label}"
        return {
            "score": f"is {'better' if of_two else 'best'}{of} on {label}",
            "time": fastest,
            "speed": fastest,
            "money": f"is {'cheaper' if of_two else 'cheapest'}{of}",
            "errors": f"fails {'less' if of_two else 'least'}{of}",
        }[self.metric.kind]

    def _row(self, arm: str) -> dict[Any, Any] | None:
        """Return the row of the pairs with the best and another arm, seen from the best; None if they have none."""
        if self.pairs is None:
            return None
        baseline = str(self.pairs["baseline"].iloc[0])
        if baseline not in {self.best, arm}:
            return None
        other = arm if self.best == baseline else self.best
        row = dict(self.pairs.loc[[(self.metric.name, other)]].iloc[0])
        if self.best == baseline:
            turned = {"better": "worse", "worse": "better", "higher": "lower", "lower": "higher"}
            row |= {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
            row["verdict"] = turned.get(row["verdict"], row["verdict"])
        return row

    @property
    def _reference(self) -> str:
        """The arm that the best is compared with: the baseline, or the next best if that is the best."""
        assert self.pairs is not None
        baseline = str(self.pairs["baseline"].iloc[0])
        return baseline if baseline != self.best and baseline in self.values else list(self.values)[1]

    def _by_how_much(self) -> str:
        row = self._row(self._reference)
        if row is None or not row["n_pairs"]:
            return ""
        sign = 1 if row["difference"] > 0 else -1
        low, high = sorted(sign * float(row[limit]) for limit in ("low", "high"))
        size = difference_amount(self.observed, self.metric, abs(row["difference"]))
        ends = [
            "…" if math.isnan(end) else difference_amount(self.observed, self.metric, end, with_unit=False)
            for end in (low, high)
        ]
        interval = f"{format_level(self.level)} interval {ends[0]} to {ends[1]}"
        prompts = count(row["n_pairs"], "prompt")
        return f", {size} {'more' if sign > 0 else 'less'} than {self._reference} ({interval}, {prompts})"

    def _limits(self, arm: str) -> str:
        """Return between which limits the difference of the best from another arm lies; empty if they are unknown."""
        row = self._row(arm)
        if row is None or math.isnan(row["low"]) or math.isnan(row["high"]):
            return ""
        low = difference_amount(self.observed, self.metric, row["low"], with_unit=False)
        high = difference_amount(self.observed, self.metric, row["high"])
        return f"{low} and {high} ({format_level(self.level)} interval, {count(row['n_pairs'], 'prompt')})"

    def _own_interval(self) -> str:
        column = value_column(self.metric)
        if f"{column}_low" not in self.summary.columns:
            return ""
        low, high = (float(self.summary[f"{column}_{end}"][self.best]) for end in ("low", "high"))
        if math.isnan(low) or math.isnan(high):
            return ""
        limits = [amount(self.observed, self.metric, each) for each in (low, high)]
        return f" ({format_level(self.level)} interval {limits[0]} to {limits[1]})"

    def _cost(self) -> str:
        """Say what the best costs, against the arm that it was compared with, or which of several costs least."""
        costs = {str(arm): float(cost) for arm, cost in self.summary["cost_per_call_usd"].items()}
        if self.pairs is None or len(self.values) == 1:
            return _price(self.best, costs[self.best]) + self._left_out([self.best])
        if not self.rivals:
            return self._cost_of_best(costs)
        among = [self.best, *self.rivals]
        known = [arm for arm in among if not math.isnan(costs[arm])]
        if len(known) < 2:  # noqa: PLR2004
            return (
                _price(known[0], costs[known[0]]) + self._left_out(known) if known else "What they cost is not known."
            )
        cheapest, *dearer = sorted(known, key=lambda arm: costs[arm])
        unknown = join_names([arm for arm in among if arm not in known], limit=MAX_NAMES)
        missing = f"; the cost of {unknown} is not known" if unknown else ""
        if _is_same(costs[cheapest], costs[dearer[-1]]):
            cost = "nothing" if costs[cheapest] == 0 else f"the same: {money(costs[cheapest])} a call"
            subject = "They" if not unknown else join_names(known, limit=MAX_NAMES)
            return f"{subject} cost {cost}{missing}{self._left_out(known)}"
        other = self.best if cheapest != self.best else dearer[0]
        start = f"Of these, {cheapest} costs {'least' if among[2:] else 'less'}: {_amount(costs[cheapest])} a call"
        return f"{start}{self._compared(costs, cheapest, other)}{missing}{self._left_out(known)}"

    def _cost_of_best(self, costs: dict[str, float]) -> str:
        """Say what the best costs, against the arm that it was compared with."""
        other = self._reference
        start = _price(self.best, costs[self.best])
        if math.isnan(costs[self.best]):
            return start + "."
        if math.isnan(costs[other]):
            return f"{start}; the cost of {other} is not known."
        return f"{start}{self._compared(costs, self.best, other)}{self._left_out([self.best, other])}"

    def _compared(self, costs: dict[str, float], arm: str, other: str) -> str:
        """Return the cost of an arm seen from that of another one, in words that follow it."""
        cost, compared = costs[arm], costs[other]
        if _is_same(cost, compared):
            return f", {'as little' if cost == 0 else 'as much'} as {other}"
        if compared == 0:
            words = f", {other} nothing"
        elif cost >= _TWICE * compared:
            words = f", {number(cost / compared)} times as much as {other}"
        else:
            words = f", {_percent(cost / compared - 1)} {'more' if cost > compared else 'less'} than {other}"
        return f"{words}, which may be chance" if self._may_be_chance(arm, other) else words

    def _may_be_chance(self, arm: str, other: str) -> bool:
        """Return whether the difference in cost per call, on the same prompts, is not shown."""
        assert self.pairs is not None
        metric = METRICS["cost_usd"]
        baseline = str(self.pairs["baseline"].iloc[0])
        if metric.name in self.pairs.index.get_level_values("metric") and baseline in {arm, other}:
            verdict = self.pairs.loc[(metric.name, other if arm == baseline else arm), "verdict"]
        else:
            means = prompt_means(self.observed, metric)
            comparisons = len(self.observed.arms) - 1
            verdict = compare_pairs(
                means, metric, arm, other, level=self.level, comparisons=comparisons, with_detectable=False
            ).verdict
        return verdict not in {"better", "worse"}

    def _left_out(self, arms: list[str]) -> str:
        """Return the end of a sentence about the costs of these arms, with the calls whose cost is unknown."""
        unknown = int(self.summary.loc[arms, "cost_unknown"].sum())
        all_unknown = bool((self.summary.loc[arms, "cost_unknown"] == self.summary.loc[arms, "n"]).all())
        return f" ({count(unknown, 'call')} of unknown cost left out)." if unknown and not all_unknown else "."


def _price(arm: str, cost: float) -> str:
    return "What it costs is not known" if math.isnan(cost) else f"A call of {arm} costs {_amount(cost)}"


def _amount(cost: float) -> str:
    return "nothing" if cost == 0 else money(cost)


def _is_same(cost: float, other: float) -> bool:
    return abs(cost - other) <= _SAME * other


def _percent(share: float) -> str:
    """Return the size of a share as a percentage, in whole numbers where these say enough."""
    percent = 100 * abs(share)
    return f"{percent:.0f}%" if 1 <= percent <= 99 else f"{number(percent)}%"  # noqa: PLR2004


def _different_prompts(observed: Observations) -> Iterator[str]:
    asked = observed.calls_per_prompt > 0
    if not asked.all():
        paired = ", only differences compare them on the same ones" if (asked.sum(axis=0) > 1).any() else ""
        yield f"Not all arms were asked the same prompts: their own figures are of different prompts{paired}."


def _failures(observed: Observations) -> Iterator[str]:
    failed = observed.frame["arm"][observed.failed].value_counts()
    failed = failed[failed > 0]
    if len(failed):
        calls = count(len(observed.frame), "call")
        by_arm = join_names([f"{n:,} of {arm}" for arm, n in failed.items()], limit=MAX_NAMES)
        yield f"{int(failed.sum()):,} of {calls} failed: {by_arm}."
