"""Prepares the calls of a comparison for statistics: arms in order, no warm-ups, only valid values of each metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ipyllm.dataframes.conditions import CONDITIONS
from ipyllm.dataframes.latency_filter import as_bool, as_float, counts_in_latency, left_out_late, mostly_late
from ipyllm.dataframes.reasoning import first_time, reasoned
from ipyllm.errors import bad_request
from ipyllm.text.format import money
from ipyllm.text.format import number as format_number
from ipyllm.text.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "METRICS",
    "Failures",
    "Metric",
    "Observations",
    "Sort",
    "arms_in_order",
    "by_value",
    "infer_direction",
    "observe",
]

Failures = Literal["omit", "zero"]

Sort = Literal["value"]

Kind = Literal["score", "time", "speed", "money", "errors"]

_LATENCIES = ("time", "speed")
_FAILED = ("error", "truncated")
_UNFINISHED = ("running", "cancelled", "interrupted")
_NUMBERS = (
    *("ttft_s", "ttfo_s", "thinking_s", "total_s", "output_tps", "client_lag_s", "send_delay_s"),
    *("queue_s", "connect_s", "attempts"),
    *("input_tokens", "output_tokens", "visible_tokens", "cost_usd"),
)
_LARGEST = 1e60
"""Largest value whose fourth power, with which the kurtosis is computed, is a float for any number of calls."""

_COPIED = (
    *("model", "prompt_id", "repeat", "started_at", "error_category", "cause", "price_source", "arrival_clock"),
    *("address", *CONDITIONS),
)


@dataclass(frozen=True)
class Metric:
    """A quantity that is compared."""

    name: str  # the column
    label: str  # in a sentence or on an axis
    plural: str  # its values, in a sentence
    unit: str  # as it follows a number: " s", ""
    kind: Kind  # decides which calls count, and the test
    higher_is_better: bool | None  # None: neither is better, or it is not known which

    def format(self, value: float) -> str:
        """Format a value with its unit."""
        return money(value) if self.kind == "money" else f"{format_number(value)}{self.unit}"


METRICS = {
    metric.name: metric
    for metric in (
        Metric("ttft_s", "time to first token", "first-token times", " s", "time", higher_is_better=False),
        Metric("ttfo_s", "time to first visible text", "first-text times", " s", "time", higher_is_better=False),
        Metric("thinking_s", "thinking time", "thinking times", " s", "time", higher_is_better=False),
        Metric("total_s", "total time", "total times", " s", "time", higher_is_better=False),
        Metric("output_tps", "tokens per second", "token rates", "/s", "speed", higher_is_better=True),
        Metric("cost_usd", "cost per call", "costs", "", "money", higher_is_better=False),
        Metric("errors", "error rate", "error rates", "", "errors", higher_is_better=False),
    )
}
"""All metrics other than scores, which are the columns ``score_…``."""


@dataclass(frozen=True)
class Observations:
    """The cleaned calls of a comparison."""

    # One row per call without warm-ups: `arm`, `prompt` (from 0), `prompt_id`, columns of the ledger, scores; and
    # `n_rows`, the equal rows of an experiment's input that the call answered.
    frame: pd.DataFrame
    arms: list[str]  # in order: see `arms_in_order`
    scores: list[str]  # the columns `score_…` with numbers
    directions: Mapping[str, bool | None]  # of each of these: whether higher is better
    problems: tuple[str, ...] = ()  # sentences about arms that were not asked everything

    @cached_property
    def first_time(self) -> Metric:
        """The metric by which first times are compared: to the first visible text where a model reasons."""
        return METRICS[first_time(self.frame["reasoned"], self.frame["ttfo_s"])]

    @cached_property
    def left_out(self) -> pd.Series[bool]:
        """Whether a call is left out of the first times."""
        return ~counts_in_latency(self.frame, self.first_time.name)

    def mostly_late(self, metric: Metric) -> list[str]:
        """Return the arms most of whose values were measured late: none of theirs count."""
        if metric.kind not in _LATENCIES:
            return []
        late = left_out_late(self.frame, metric.name)
        if not late.any():
            return []
        counted = counts_in_latency(self.frame, metric.name) & self.frame[metric.name].notna()
        n_late, n_counted = (mask.groupby(self.frame["arm"], observed=False).sum() for mask in (late, counted))
        return [str(arm) for arm in n_late.index[mostly_late(n_late, n_counted)]]

    @cached_property
    def failed(self) -> pd.Series[bool]:
        """Whether a call ended in an error or a truncated answer."""
        return self.frame["status"].isin(_FAILED)

    @cached_property
    def cut(self) -> pd.Series[bool]:
        """Whether an answer was cut off at the limit of tokens."""
        return self.frame["finish_reason"] == "length"

    @cached_property
    def unfinished(self) -> pd.Series[bool]:
        """Whether a call was cancelled or has not ended: it says nothing about the model."""
        return self.frame["status"].isin(_UNFINISHED)

    @cached_property
    def calls_per_prompt(self) -> np.ndarray:
        """Number of calls of each arm (row) for each prompt (column)."""
        return self.by_prompt(np.ones(len(self.frame)))[1]

    def by_prompt(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and number of the known values, one per call, of each arm (row) for each prompt (column)."""
        known = ~np.isnan(values)
        shape = len(self.arms), int(self.frame["prompt"].max()) + 1
        flat = self.frame["arm"].cat.codes.to_numpy().astype(np.int64) * shape[1] + self.frame["prompt"].to_numpy()
        n = np.bincount(flat[known], minlength=shape[0] * shape[1])
        sums = np.bincount(flat[known], weights=values[known], minlength=shape[0] * shape[1])
        means = np.divide(sums, n, out=np.full(n.size, math.nan), where=n > 0)
        return means.reshape(shape), n.reshape(shape)

    def is_binary(self, metric: Metric) -> bool:
        """Return whether a metric says right or wrong: a score of 0 and 1 in all arms, or errors."""
        if metric.kind == "errors":
            return True
        return metric.kind == "score" and bool(self.frame[metric.name].dropna().isin((0, 1)).all())

    def metric(self, name: str) -> Metric:
        """Return the metric of that name, or raise an error that suggests one."""
        if name in METRICS:
            return METRICS[name]
        column = name if name in self.scores else f"score_{name}"
        if column in self.scores:
            label = column.removeprefix("score_")
            return Metric(column, label, f"scores of {label}", "", "score", self.directions[column])
        known = [*(score.removeprefix("score_") for score in self.scores), *METRICS]
        raise bad_request(f"There is no metric {name!r}. {suggest(name, known)}")

    def metrics(self, names: Sequence[str] | None = None) -> list[Metric]:
        """Return these metrics; without names, those that have values."""
        if names is not None:
            names = [names] if isinstance(names, str) else list(names)
            if not names:
                raise bad_request("metrics is empty: name at least one metric, or leave it out.")
            return [self.metric(name) for name in dict.fromkeys(names)]
        found = [self.metric(name) for name in [*self.scores, self.first_time.name, "total_s", "output_tps"]]
        if self.frame["cost_usd"].gt(0).any():
            found.append(METRICS["cost_usd"])
        if self.failed.any():
            found.append(METRICS["errors"])
        return [metric for metric in found if self.values(metric).notna().any()]

    def values(self, metric: Metric, failures: Failures = "omit") -> pd.Series[float]:
        """Return the metric of each call, NaN where it does not count.

        The score of a failed call is missing. With ``"zero"`` it is 0, or the lowest if that is below 0; but still
        missing where lower is better.
        """
        frame = self.frame
        if failures not in {"omit", "zero"}:
            raise ValueError(f"failures must be 'omit' or 'zero', not {failures!r}.")
        if metric.kind == "errors":
            return self.failed.astype(float).where(~self.unfinished)
        column = frame[metric.name]
        if metric.kind == "score":
            has_worst = failures == "zero" and metric.higher_is_better is not False
            return column.mask(self.failed & column.isna(), np.fmin(0.0, column.min())) if has_worst else column
        if metric.kind in _LATENCIES:
            counts = counts_in_latency(frame, metric.name)
            if unreliable := self.mostly_late(metric):
                counts &= ~frame["arm"].isin(unreliable)
            return column.where(counts)
        # A call that failed before it cost anything says nothing about the price of an answer.
        return column.where(~frame["cache_hit"] & ((frame["status"] == "ok") | (column > 0)))

    def arm(self, label: object) -> str:
        """Return the arm of that label, or raise an error that suggests one."""
        if str(label) in self.arms:
            return str(label)
        raise bad_request(f"There is no arm {label!r}. {suggest(label, self.arms)}")


def observe(calls: Any, directions: Mapping[str, bool | None] | None = None) -> Observations:
    """Prepare calls for statistics; raise ``bad_request`` if there are none, or no arms.

    ``calls`` is a DataFrame, or has one as ``.calls``, with ``arm`` (or ``model``) and ``status``. Calls of one
    ``prompt_id``, or else of one ``prompt``, belong together; without these, each call is its own prompt.

    ``directions`` says by score, with or without ``score_``, whether higher is better. Others are those that the table
    has as ``calls.attrs["directions"]``, or else are inferred by :func:`infer_direction`. Arms stand in the order of
    :func:`arms_in_order`.
    """
    if not isinstance(calls, pd.DataFrame):
        calls = getattr(calls, "calls", calls)
    if not isinstance(calls, pd.DataFrame):
        raise bad_request(f"calls must be a DataFrame of calls, not {type(calls).__name__}.")
    arm_column = "arm" if "arm" in calls.columns else "model"
    if lacking := [column for column in (arm_column, "status") if column not in calls.columns]:
        what = "arm or model" if lacking[0] == "model" else lacking[0]
        raise bad_request(f"These calls have no column {what}: there is nothing to compare by.")
    warm_up = as_bool(calls["warmup"]) if "warmup" in calls.columns else pd.Series(False, index=calls.index)
    calls = calls[~warm_up & calls[arm_column].notna()].reset_index(drop=True)
    if calls.empty:
        except_for = " but warm-ups" if warm_up.any() else ""
        raise bad_request(f"There are no calls{except_for}, so there is nothing to compare.")
    in_order = arms_in_order(calls, arm_column)
    arms = pd.Categorical(calls[arm_column].astype(str), categories=in_order)
    scores = [name for name in map(str, calls.columns) if name.startswith("score_") and _is_score(calls, name)]
    texts, flags = ("usage_source", "finish_reason"), ("cold", "cache_hit", "refused", "reused", "other_conditions")
    # All columns at once: one by one, each would copy the names of the others.
    frame = pd.DataFrame(
        {
            **{name: calls[name] for name in _COPIED if name in calls.columns},
            "arm": arms,
            "prompt": _prompts(calls),
            "status": calls["status"].astype(str),
            **{name: calls[name].astype(str) if name in calls.columns else "" for name in texts},
            **{name: as_bool(calls[name]) if name in calls.columns else False for name in flags},
            "n_rows": calls["n_rows"].fillna(1).astype(int) if "n_rows" in calls.columns else 1,
            "whole": as_bool(~calls["streamed"].astype("boolean")) if "streamed" in calls.columns else False,
            "reasoned": reasoned(calls),
            **{name: _finite(calls[name], name) if name in calls.columns else math.nan for name in _NUMBERS},
            **{name: _finite(calls[name], name) for name in scores},
        },
        index=calls.index,
    )
    declared = {**calls.attrs.get("directions", {}), **_by_column(directions or {}, scores)}
    found = {name: declared[name] if name in declared else infer_direction(frame[name]) for name in scores}
    return Observations(frame, in_order, scores, found, tuple(calls.attrs.get("problems", ())))


def arms_in_order(calls: pd.DataFrame, column: str = "arm") -> list[str]:
    """Return the arms that have calls: in the order of ``calls.attrs["arms"]``, of the categories, or of appearance.

    Examples
    --------
    >>> calls = pd.DataFrame({"arm": ["b", "c", "a"]})
    >>> arms_in_order(calls), arms_in_order(calls.assign(arm=pd.Categorical(["b", "c", "a"], list("cab"))))
    (['b', 'c', 'a'], ['c', 'a', 'b'])
    """
    labels = calls[column].dropna().astype(str).unique()
    known = calls.attrs.get("arms", getattr(calls[column].array, "categories", ()))
    places = {str(label): place for place, label in enumerate(known)}
    return sorted(labels, key=lambda label: places.get(label, len(places)))


def by_value(values: Mapping[str, float], metric: Metric, sort: Sort | None) -> list[str]:
    """Return the arms as they are, or with ``"value"`` the best first; unknown values are last, equal ones in order.

    Examples
    --------
    >>> by_value({"a": 0.3, "b": math.nan, "c": 0.2}, METRICS["ttft_s"], "value")
    ['c', 'a', 'b']
    """
    if sort is None:
        return list(values)
    if sort != "value":
        raise bad_request(f"sort must be 'value', or left out for the order of the call, not {sort!r}.")
    sign = 1 if metric.higher_is_better is False else -1
    return sorted(values, key=lambda arm: (math.isnan(values[arm]), sign * values[arm]))


def infer_direction(scores: pd.Series[Any]) -> bool | None:
    """Return True, higher is better, if all known scores are 0 or 1: right or wrong. Else None, unknown.

    Examples
    --------
    >>> infer_direction(pd.Series([1.0, 0.0, None])), infer_direction(pd.Series([3.0, 9.0]))
    (True, None)
    """
    return True if scores.notna().any() and scores.dropna().isin([0, 1]).all() else None


def _by_column(directions: Mapping[str, bool | None], scores: Sequence[str]) -> dict[str, bool | None]:
    by_column = {}
    for name, direction in directions.items():
        column = name if name in scores else f"score_{name}"
        if column not in scores:
            names = [score.removeprefix("score_") for score in scores]
            raise bad_request(f"directions has {name!r}, which is not a score. {suggest(name, names)}")
        if direction is not None and not isinstance(direction, bool):
            raise bad_request(
                f"The direction of {name} must be True (higher is better), False (lower is better), or None (neither), "
                f"not {direction!r}."
            )
        by_column[column] = direction
    return by_column


def _prompts(calls: pd.DataFrame) -> np.ndarray:
    for name in ("prompt_id", "prompt"):
        if name in calls.columns and calls[name].notna().any():
            codes, _ = pd.factorize(calls[name])
            # A call without a known prompt is a prompt of its own.
            unknown = codes < 0
            codes[unknown] = codes.max() + 1 + np.arange(unknown.sum())
            return codes
    return np.arange(len(calls))


def _is_score(calls: pd.DataFrame, name: str) -> bool:
    """Return whether a column is a score, not a score's error or reason."""
    if any(name.endswith(end) and name.removesuffix(end) in calls.columns for end in ("_error", "_reason")):
        return False
    column = calls[name]
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return True
    known = column.dropna()
    return len(known) > 0 and all(isinstance(value, bool | int | float | np.number | np.bool_) for value in known)


def _finite(column: pd.Series[Any], name: str) -> pd.Series[float]:
    values = as_float(column.astype("object").where(column.notna(), None) if column.dtype == object else column)
    if np.isinf(values).any():
        raise bad_request(f"Column {name} has an infinite value, which has no mean.")
    if (np.abs(values) > _LARGEST).any():
        raise bad_request(f"Column {name} has a value beyond ±{_LARGEST:g}, which is too large to compute with.")
    return values
