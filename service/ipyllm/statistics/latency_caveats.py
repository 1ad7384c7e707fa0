"""Caveats of the times of a comparison: what is left out of them, and what they contain besides the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from ipyllm.dataframes.conditions import CONDITIONS, TIMES_LEFT_OUT, in_words
from ipyllm.dataframes.failures import root_categories
from ipyllm.dataframes.latency_filter import as_of_older_version, known_column
from ipyllm.statistics.load_trend import load_trends
from ipyllm.statistics.observations import METRICS
from ipyllm.text.format import count, join_names, seconds
from ipyllm.timing import MAX_READ_DELAY_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipyllm.statistics.observations import Observations

__all__ = ["MAX_NAMES", "latency_caveats", "overlapping"]

MAX_NAMES: Final = 4
"""Most names that a sentence lists; further ones are only counted."""

_CLOCK_TOLERANCE_S: Final = 0.005  # start by the time of day, length by the processor's clock


def latency_caveats(observed: Observations) -> list[str]:
    """Return the caveats of these calls' times, most important first."""
    checks = (
        _earlier_run,
        _other_conditions,
        _reasoning,
        _left_out,
        _mostly_late,
        _whole_answers,
        _time_limits,
        _load,
        _shared_cores,
        _attempts,
        _older,
    )
    return [sentence for check in checks for sentence in check(observed)]


def _reasoning(observed: Observations) -> Iterator[str]:
    if observed.first_time is METRICS["ttfo_s"]:
        arms = _arms(observed, observed.frame["reasoned"])
        reason, answer = ("reasons", "answers") if len(arms) == 1 else ("reason", "answer")
        subject = "it" if len(arms) == 1 else "they"
        yield (
            f"{join_names(arms, limit=MAX_NAMES)} {reason} before {subject} {answer}. Hidden reasoning is part of the "
            "time to first token (ttft_s) and streamed reasoning is not, so arms are compared by the time to first "
            "visible text (ttfo_s)."
        )


def _earlier_run(observed: Observations) -> Iterator[str]:
    frame = observed.frame
    reused = frame["reused"]
    if reused.any():
        again = f" {TIMES_LEFT_OUT}" if (reused & frame["other_conditions"]).any() else ""
        n = int(reused.sum())
        is_ = "is" if n == 1 else "are"
        yield f"{n} of {count(len(frame), 'call')} {is_} from an earlier run {in_words(frame[reused])}.{again}"


def _other_conditions(observed: Observations) -> Iterator[str]:
    """Say which arms were measured under other conditions than the others; embedded models have a caveat of theirs."""
    frame = observed.frame
    if "model" not in frame or not set(CONDITIONS) <= set(frame.columns):
        return
    counted = frame[~observed.left_out & ~frame["model"].astype(str).str.startswith("local/") & ~observed.failed]
    words = {str(arm): in_words(calls) for arm, calls in counted.groupby("arm", observed=True)}
    if len(set(words.values())) > 1:
        listed = join_names([f"{arm} {phrase}" for arm, phrase in words.items()], limit=MAX_NAMES)
        yield f"Times were measured under different conditions: {listed}."


def _left_out(observed: Observations) -> Iterator[str]:
    frame, out = observed.frame, observed.left_out
    if not out.any():
        return
    other = frame["other_conditions"] & ~frame["cold"] & ~frame["cache_hit"]
    late = out & ~frame["cold"] & ~frame["cache_hit"] & ~other
    reasons = [
        f"{int(mask.sum())} {what}"
        for mask, what in (
            (frame["cold"], "loaded the model first"),
            (frame["cache_hit"] & ~frame["cold"], "came from the cache"),
            (other, "were made under other conditions than now"),
            (late, f"had a first token that was read more than {seconds(MAX_READ_DELAY_S)} late (total times count)"),
        )
        if mask.any()
    ]
    sentence = (
        f"{int(out.sum())} of {count(len(frame), 'call')} {'is' if out.sum() == 1 else 'are'} left out of the "
        f"latencies: {', '.join(reasons)}."
    )
    emptied = [arm for arm in observed.arms if out[frame["arm"] == arm].all() and not late[frame["arm"] == arm].any()]
    yield f"{sentence} No times remain for {join_names(emptied, limit=MAX_NAMES)}." if emptied else sentence


def _mostly_late(observed: Observations) -> Iterator[str]:
    if arms := observed.mostly_late(observed.first_time):
        yield (
            f"Most calls of {join_names(arms, limit=MAX_NAMES)} were measured late, so no first times and token rates "
            "are shown for them: the few others may not represent all. Fewer calls at once are measured better, and "
            "on Linux the kernel's time stamps make lateness harmless."
        )


def _whole_answers(observed: Observations) -> Iterator[str]:
    whole = observed.frame["whole"]
    if whole.any():
        answers = "All answers" if whole.all() else f"{int(whole.sum())} of {count(len(whole), 'answer')}"
        of = "" if whole.all() else f" ({join_names(_arms(observed, whole), limit=MAX_NAMES)})"
        yield (
            f"{answers}{of} came whole, not streamed: their times to first token and to first visible text are those "
            "of the whole answer, and they have no token rate."
        )


def _time_limits(observed: Observations) -> Iterator[str]:
    if (stopped := root_categories(observed.frame) == "timeout").any():
        yield (
            f"{count(int(stopped.sum()), 'call')} ({join_names(_arms(observed, stopped), limit=MAX_NAMES)}) ended at "
            "a time limit and count in no total time, although they were slow: the true quantiles are higher."
        )


def _load(observed: Observations) -> Iterator[str]:
    """Say where a server was slower the more calls were in flight; embedded models have a caveat of theirs."""
    metric = observed.first_time
    counted = observed.frame.assign(**{metric.name: observed.values(metric)})[~observed.frame["cache_hit"]]
    if "model" in counted:
        counted = counted[~counted["model"].astype(str).str.startswith("local/")]
    for trend in load_trends(counted, metric.name):
        yield (
            f"The {metric.label} at {trend.address} grew with the calls in flight: {seconds(trend.few_s)} with at most "
            f"{trend.few} others, {seconds(trend.many_s)} with {trend.many} or more (medians). The server queues "
            "calls, or shares its power among them: with fewer at once (concurrency=…) they are faster."
        )


def _shared_cores(observed: Observations) -> Iterator[str]:
    frame = observed.frame
    if "model" not in frame or "started_at" not in frame:
        return
    embedded = frame[frame["model"].astype(str).str.startswith("local/") & ~frame["cache_hit"]]
    n = int(overlapping(embedded).sum())
    if n:
        yield (
            f"{count(n, 'call')} of embedded models ran at the same time as others. Calls on one machine share its "
            "processor cores, so their times are longer than those of a model that is asked alone."
        )


def _attempts(observed: Observations) -> Iterator[str]:
    retried = observed.frame["attempts"] > 1
    if retried.any():
        n = int(retried.sum())
        yield (
            f"{count(n, 'call')} took several attempts: first times are those of the last attempt, total times "
            "include all."
        )


def _older(observed: Observations) -> Iterator[str]:
    before = as_of_older_version(observed.frame)
    if before.any():
        n, longest = int(before.sum()), float(observed.frame.loc[before, "client_lag_s"].max())
        was = "was" if n == 1 else "were"
        yield (
            f"{count(n, 'call')} {was} recorded by an older version of ipyllm, which did not measure how late it read "
            f"a first token: times may be too long by up to {seconds(longest)}."
        )


def overlapping(calls: pd.DataFrame) -> pd.Series[bool]:
    """Return which calls were in flight at the same time as another of them.

    Parameters
    ----------
    calls : DataFrame
        With ``started_at`` and ``total_s``; ``queue_s``, a wait before the call, and ``send_delay_s``, which may have
        begun before ``started_at``, shorten the time in flight.

    Examples
    --------
    >>> at = pd.to_datetime(["2026-11-26 12:00:00", "2026-11-26 12:00:01", "2026-11-26 12:00:05"], utc=True)
    >>> overlapping(pd.DataFrame({"started_at": at, "queue_s": 0.0, "total_s": 2.0})).tolist()
    [True, True, False]
    """
    known = calls[calls["started_at"].notna() & calls["total_s"].notna()]
    opened = pd.to_datetime(known["started_at"], utc=True)
    opened_s = (opened - opened.min()).dt.total_seconds().to_numpy()
    queue_s, delay_s, total_s = (
        known_column(known, name).fillna(0.0).to_numpy() for name in ("queue_s", "send_delay_s", "total_s")
    )
    start, end = opened_s + queue_s + _CLOCK_TOLERANCE_S, opened_s + total_s - delay_s
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]
    after = start[1:] < np.maximum.accumulate(end)[:-1]  # it began before an earlier one had ended
    before = start[1:] < end[:-1]
    shared = np.zeros(len(known), dtype=bool)
    shared[order] = np.r_[before, False] | np.r_[False, after]
    return calls.index.to_series().isin(known.index[shared])


def _arms(observed: Observations, mask: pd.Series[bool]) -> list[str]:
    some = mask.groupby(observed.frame["arm"], observed=False).any()
    return [str(arm) for arm in some.index[some]]
