"""Caveats of a comparison, shown below its tables."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ipyllm.dataframes.call_totals import cost_total
from ipyllm.statistics.latency_caveats import MAX_NAMES, latency_caveats
from ipyllm.text.format import count, join_names, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipyllm.statistics.observations import Observations

__all__ = ["FEW_PROMPTS", "MAX_NAMES", "caveats"]

FEW_PROMPTS = 20
"""Number of prompts below which the usual intervals are rough."""


def caveats(observed: Observations) -> list[str]:
    """Return the caveats of these calls, most important first."""
    checks = (
        _problems,
        _different_prompts,
        _reversals,
        _failures,
        _cut,
        _refused,
        _unscored,
        _few_prompts,
        latency_caveats,
        _unfinished,
        _unknown_costs,
    )
    return [sentence for check in checks for sentence in check(observed)]


def _problems(observed: Observations) -> Iterator[str]:
    yield from observed.problems


def _different_prompts(observed: Observations) -> Iterator[str]:
    asked = observed.calls_per_prompt
    have = (asked > 0).sum(axis=1)
    total = asked.shape[1]
    if len(observed.arms) > 1 and (have < total).any():
        lacking = [f"{arm} ({n} of {total})" for arm, n in zip(observed.arms, have, strict=True) if n < total]
        shared = int((asked > 0).all(axis=0).sum())
        yield (
            f"Not all arms got the same prompts: {join_names(lacking, limit=MAX_NAMES)}. So their rows of the "
            f"summary are not comparable; {count(shared, 'prompt')} went to all, and paired() compares two arms only "
            "on the prompts that both got."
        )
    elif (asked.max(axis=0) != asked.min(axis=0)).any():
        yield (
            "Some prompts were sent more often to one arm than to another, so the summary weights them differently; "
            "paired() gives every prompt the same weight."
        )


def _reversals(observed: Observations) -> Iterator[str]:
    """Report Simpson's paradox: an arm is ahead over all calls but behind on the prompts that both answered."""
    for score in observed.scores:
        by_prompt, _ = observed.by_prompt(observed.frame[score].to_numpy())
        if np.isnan(by_prompt).any():
            overall = observed.frame.groupby("arm", observed=False)[score].mean().to_numpy()
            for first, second in combinations(range(len(observed.arms)), 2):
                if sentence := _reversal(score, observed.arms, overall, by_prompt, first, second):
                    yield sentence


def _reversal(score: str, arms: list[str], overall: np.ndarray, by_prompt: np.ndarray, first: int, second: int) -> str:
    both = ~np.isnan(by_prompt[[first, second]]).any(axis=0)
    if not both.any():
        return ""
    common = {i: by_prompt[i, both].mean() for i in (first, second)}
    if np.sign(overall[first] - overall[second]) * np.sign(common[first] - common[second]) >= 0:
        return ""
    ahead, behind = (first, second) if overall[first] > overall[second] else (second, first)
    return (
        f"On {score.removeprefix('score_')}, {arms[ahead]} is higher than {arms[behind]} over all calls "
        f"({number(overall[ahead])} against {number(overall[behind])}) but lower on the "
        f"{count(int(both.sum()), 'prompt')} that both answered ({number(common[ahead])} against "
        f"{number(common[behind])}): the prompts differ, not only the arms."
    )


def _failures(observed: Observations) -> Iterator[str]:
    ended = observed.failed[~observed.unfinished]
    of_arm = ended.groupby(observed.frame["arm"][ended.index], observed=False)
    n_failed = of_arm.sum()
    if not n_failed.any() or ended.all():  # if all failed, no prompt was answered, and the headline says it
        return
    failing = [
        f"{arm} {n:,} of {total:,}" for (arm, n), total in zip(n_failed.items(), of_arm.size(), strict=True) if n
    ]
    failed = join_names(failing, limit=MAX_NAMES)
    sentence = f"Calls failed ({failed}), probably not at random: the answered prompts may be easier."
    # A 0 would be the best of a score that is better when lower.
    for score in (score for score in observed.scores if observed.directions[score] is not False):
        values = observed.frame[score]
        changed = []
        for arm in (arm for arm in observed.arms if n_failed[arm]):
            scored = values[observed.frame["arm"] == arm]
            lost = (observed.failed & values.isna())[scored.index]
            before, after = scored[~lost].mean(), scored.mask(lost, 0.0).mean()
            if lost.any() and number(before) != number(after):
                changed.append(f"{arm} {'none' if np.isnan(before) else number(before)} → {number(after)}")
        if changed:
            listed = join_names(changed, limit=MAX_NAMES)
            sentence += f" If failed calls scored 0, the mean {score.removeprefix('score_')} would change: {listed}."
    yield sentence


def _cut(observed: Observations) -> Iterator[str]:
    cut = observed.cut & ~observed.failed
    if not cut.any():
        return
    by_arm = cut.groupby(observed.frame["arm"], observed=False).sum()
    listed = join_names([f"{arm} {n}" for arm, n in by_arm.items() if n], limit=MAX_NAMES)
    sentence = (
        f"{count(int(cut.sum()), 'answer')} {'was' if cut.sum() == 1 else 'were'} cut off at max_tokens ({listed})"
    )
    scored = [score for score in observed.scores if observed.frame[score][cut].notna().any()]
    if scored:
        labels = join_names([score.removeprefix("score_") for score in scored], limit=MAX_NAMES)
        sentence += f", and {'is' if cut.sum() == 1 else 'are'} scored on {labels} as far as they came"
    yield f"{sentence}: a higher limit may change the result."


def _refused(observed: Observations) -> Iterator[str]:
    refused = observed.frame["refused"] & ~observed.failed
    if not refused.any():
        return
    by_arm = refused.groupby(observed.frame["arm"], observed=False).sum()
    listed = join_names([f"{arm} {n}" for arm, n in by_arm.items() if n], limit=MAX_NAMES)
    n = int(refused.sum())
    a, counts = ("is a refusal", "it counts") if n == 1 else ("are refusals", "they count")
    scored = observed.frame[observed.scores][refused].notna().any(axis=None)
    yield f"{count(n, 'answer')} {a} ({listed}): {counts} as answered{', with the score given' if scored else ''}."


def _unscored(observed: Observations) -> Iterator[str]:
    answered = (observed.frame["status"] == "ok").to_numpy()
    for score in observed.scores:
        missing = int((observed.frame[score].isna().to_numpy() & answered).sum())
        if missing:
            has, are = ("has", "is") if missing == 1 else ("have", "are")
            label = score.removeprefix("score_")
            yield f"{missing:,} of {count(int(answered.sum()), 'answer')} {has} no score of {label} and {are} left out."


def _few_prompts(observed: Observations) -> Iterator[str]:
    prompts = int((observed.calls_per_prompt > 0).sum(axis=1).min())
    if prompts < FEW_PROMPTS:
        yield (
            f"Only {count(prompts, 'prompt')}{' in the smallest arm' if len(observed.arms) > 1 else ''}: intervals "
            f"are imprecise below {FEW_PROMPTS}, and so few prompts may not represent what you will ask."
        )
    if observed.calls_per_prompt.max() == 1:
        yield (
            "Every prompt was asked once: the variation between repeats cannot be separated from that between prompts."
        )


def _unfinished(observed: Observations) -> Iterator[str]:
    n = int(observed.unfinished.sum())
    if n:
        has, was = ("has", "was") if n == 1 else ("have", "were")
        yield f"{count(n, 'call')} {has} not ended, or {was} cancelled: not counted as right or wrong."


def _unknown_costs(observed: Observations) -> Iterator[str]:
    frame = observed.frame
    totals = {str(arm): cost_total(calls) for arm, calls in frame.groupby("arm", observed=False)}
    partly = [
        f"{total.n_unknown:,} of {count(total.n, 'call')} of {arm}"
        for arm, total in totals.items()
        if 0 < total.n_unknown < total.n
    ]
    if partly:
        listed = join_names(partly, limit=MAX_NAMES)
        yield f"The cost of {listed} is unknown: sums of costs are lower bounds, means are of the known ones."
