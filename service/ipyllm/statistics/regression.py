"""``assert_no_regression()``: a test for CI that passes only if a change is shown to be harmless."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from ipyllm.errors import bad_request
from ipyllm.statistics.differences import hodges_lehmann, paired_t
from ipyllm.statistics.observations import Metric, Observations, observe
from ipyllm.statistics.pairs import prompt_means
from ipyllm.statistics.power import n_needed
from ipyllm.text.format import count, join_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NonInferiority", "assert_no_regression"]

_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": pd.read_parquet,
    ".csv": pd.read_csv,
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype=False),
}
_BEFORE, _AFTER = "baseline", "candidate"


@dataclass(frozen=True)
class NonInferiority:
    """The result of comparing a candidate with a baseline.

    Attributes
    ----------
    metric : str
        The metric.
    n_pairs : int
        Prompts that both answered.
    difference : float
        How much *better* the candidate is; negative if it is worse.
    bound : float
        Lower limit of ``difference``, with confidence 1 - alpha.
    margin : float
        Accepted deterioration.
    passed : bool
        ``bound > -margin``.
    sentence : str
        The result in sentences.
    """

    metric: str
    n_pairs: int
    difference: float
    bound: float
    margin: float
    passed: bool
    sentence: str


def assert_no_regression(
    baseline: Any,
    candidate: Any,
    *,
    metric: str,
    margin: float | str = 0.0,
    alpha: float = 0.05,
    arm: str | None = None,
    baseline_arm: str | None = None,
    directions: Mapping[str, bool | None] | None = None,
) -> NonInferiority:
    """Pass only if the calls show that the candidate is at most ``margin`` worse than the baseline.

    Parameters
    ----------
    baseline : DataFrame, results, path or str
        Calls of the known state: a DataFrame, anything that has one as ``.calls``, or a file that one was saved to
        (``.parquet``, ``.csv``, ``.jsonl``). Or the label of an arm of ``candidate``.
    candidate : DataFrame, results or path
        Calls of the new state, with prompts of the same ``prompt_id``.
    metric : str
        A score, ``"ttft_s"``, ``"ttfo_s"``, ``"total_s"``, ``"output_tps"``, ``"cost_usd"`` or ``"errors"``.
    margin : float or str
        Accepted deterioration: in the unit of the metric, or as a share of the baseline, ``"5%"``.
    alpha : float
        Probability of accepting a candidate that is worse by the whole margin.
    arm, baseline_arm : str, optional
        The arm to take, where there are several.
    directions : mapping of str to bool or None, optional
        Whether higher is better, by score: ``{"edit_distance": False}``; by default as in
        :func:`~ipyllm.statistics.paired`.

    Returns
    -------
    NonInferiority
        The result, if it passed.

    Raises
    ------
    AssertionError
        It is worse by more than the margin, or may be; the sentence says which, and how many prompts would probably
        decide it.
    LLMError
        ``bad_request``: no such metric, arm or file, no prompt in common, an invalid margin, or a score of which it is
        not known whether higher is better.

    Notes
    -----
    A test of non-inferiority: the burden of proof is on the candidate. "No significant difference" would pass
    anything on too few prompts; this test fails then. It passes when the lower end of the one-sided
    interval at ``1 - alpha`` for the paired difference lies above ``-margin``: Student's interval on the prompts'
    means, Hodges–Lehmann's for times and speeds. A failed call scores 0 here, so that failing on the hard
    prompts cannot pass; where lower is better there is no worst score, and a candidate with failed calls does not
    pass. With a margin of 0 the candidate must be *better*, or identical on every prompt.

    Examples
    --------
    >>> before = pd.DataFrame({"arm": "a", "prompt_id": range(40), "status": "ok", "score_exact": [1, 1, 1, 0] * 10})
    >>> after = before.assign(score_exact=[1, 0, 1, 0] * 10)
    >>> assert_no_regression(before, before, metric="exact", margin=0.05).passed
    True
    >>> assert_no_regression(before, after, metric="exact", margin=0.05)
    Traceback (most recent call last):
        ...
    AssertionError: exact became worse: from 0.75 to 0.5 over 40 prompts; with 95% confidence it is worse by at most \
0.367; accepted is 0.05.
    """
    if not 0 < alpha < 0.4:  # noqa: PLR2004
        raise bad_request(f"alpha must be a probability between 0 and 0.4, not {alpha!r}.")
    observed = _side_by_side(baseline, candidate, arm, baseline_arm, directions)
    measure = observed.metric(metric)
    if measure.higher_is_better is None:
        raise bad_request(
            f"It is not known whether higher {measure.plural} are better: say so with directions={{{measure.label!r}: "
            "True}, or False, or by the attribute higher_is_better of the scorer."
        )
    n_failed = int((observed.failed & (observed.frame["arm"] == _AFTER) & observed.values(measure).isna()).sum())
    if n_failed and measure.kind == "score" and not measure.higher_is_better:
        raise AssertionError(
            f"{n_failed} of the candidate's calls failed and have no score of {measure.label}, where lower is better: "
            "there is no worst score to give them."
        )
    means = prompt_means(observed, measure, "zero").table
    before, after = means.reindex([_BEFORE, _AFTER]).dropna(axis=1).to_numpy()
    if not before.size:
        raise _nothing_in_common(observed, measure)
    better = (after - before) * (1 if measure.higher_is_better else -1)
    robust = measure.kind in {"time", "speed"}
    average = np.median if robust else np.mean
    was, now = float(average(before)), float(average(after))
    accepted = _margin(margin, was)
    found = (hodges_lehmann if robust else paired_t)(better, level=1 - 2 * alpha)
    # Where every prompt changed by the same amount there is no interval, only the amount.
    is_constant = math.isnan(found.low) and float(np.ptp(better)) == 0 and (found.value == 0 or 2.0**-found.n <= alpha)
    bound = found.value if is_constant else found.low
    passed = bound > -accepted or (is_constant and found.value == 0)

    def amount(value: float) -> str:
        return measure.format(abs(value) if value == 0 else value)

    change, limit, advice = "became worse", f"it is worse by at most {amount(-bound)}", ""
    if passed:
        change = "did not become worse than accepted"
        limit = f"it is {'better by at least' if bound > 0 else 'worse by at most'} {amount(abs(bound))}"
    elif found.value >= 0 or not (is_constant or found.high < 0):
        change = "may have become worse"
        limit = "there is no bound on how much" if math.isnan(bound) else f"it could be worse by {amount(-bound)}"
        needed = _prompts_needed(accepted, float(better.std(ddof=1)) if found.n > 1 else math.nan, alpha)
        advice = f" About {needed:,} prompts would probably decide it." if (needed or 0) > found.n else ""
    sentence = (
        f"{measure.label} {change}: from {amount(was)} to {amount(now)} over {count(found.n, 'prompt')}; "
        f"with {1 - alpha:.0%} confidence {limit}; accepted is {amount(accepted)}.{advice}"
    )
    sentence += _missing_and_failed(observed)
    result = NonInferiority(measure.name, found.n, found.value, bound, accepted, passed, sentence)
    if not passed:
        raise AssertionError(sentence)
    return result


def _side_by_side(
    baseline: Any,
    candidate: Any,
    arm: str | None,
    baseline_arm: str | None,
    directions: Mapping[str, bool | None] | None,
) -> Observations:
    """Return the calls of baseline and candidate as two arms."""
    new = _calls(candidate, "candidate")
    arms = observe(new).arms
    if isinstance(baseline, str) and Path(baseline).suffix not in _READERS and baseline not in arms:
        observe(new).arm(baseline)  # raises, with a suggestion
    if isinstance(baseline, str) and baseline in arms:
        old = new
        baseline_arm = baseline
        others = [other for other in arms if other != baseline]
        arm = others[0] if arm is None and len(others) == 1 else arm
    else:
        old = _calls(baseline, "baseline")
    frames = [
        _calls_of_arm(old, baseline_arm, "baseline_arm", excluded=None).assign(arm=_BEFORE),
        _calls_of_arm(new, arm, "arm", excluded=baseline_arm if old is new else None).assign(arm=_AFTER),
    ]
    key = next((name for name in ("prompt_id", "prompt") if all(name in frame for frame in frames)), None)
    if key is None:
        raise bad_request("The prompts of baseline and candidate cannot be matched: both need a column prompt_id.")
    # A file may have turned texts into numbers.
    frames = [frame.assign(prompt_id=frame[key].astype(str)) for frame in frames]
    both = pd.concat([frame.astype(object) for frame in frames], ignore_index=True)
    both.attrs["directions"] = {**old.attrs.get("directions", {}), **new.attrs.get("directions", {})}
    return observe(both, directions)


def _calls(given: Any, role: str) -> pd.DataFrame:
    if not isinstance(given, str | Path):
        frame = getattr(given, "calls", given)
        observe(frame)
        return cast("pd.DataFrame", frame)  # observe has checked it
    path = Path(given)
    if path.suffix not in _READERS:
        raise bad_request(f"The {role} {str(path)!r} is not a file of calls: save one as .parquet, .csv or .jsonl.")
    if not path.is_file():
        raise bad_request(f"The {role}'s file {str(path)!r} does not exist.")
    try:
        return _READERS[path.suffix](path)
    except ImportError:
        raise bad_request(
            "Parquet needs pyarrow, which is not installed: pip install 'ipyllm[tables]', or save the "
            f"{role} as .csv or .jsonl."
        ) from None
    except (OSError, ValueError) as exc:  # pandas' and pyarrow's own errors are among them
        raise bad_request(f"The {role} {path.name!r} cannot be read: {exc}") from None


def _calls_of_arm(calls: pd.DataFrame, arm: str | None, parameter: str, excluded: str | None) -> pd.DataFrame:
    """Return the calls of one arm."""
    observed = observe(calls)
    arms = [label for label in observed.arms if label != excluded]
    if arm is None:
        if len(arms) != 1:
            raise bad_request(f"There are several arms ({', '.join(arms)}): choose one with {parameter}=….")
        arm = arms[0]
    arm_column = "arm" if "arm" in calls.columns else "model"
    return calls[calls[arm_column].astype(str) == observed.arm(arm)]


def _margin(margin: float | str, was: float) -> float:
    """Return the accepted deterioration in the unit of the metric."""
    share = isinstance(margin, str) and margin.strip().endswith("%")
    try:
        amount = float(str(margin).strip().removesuffix("%"))
    except ValueError:
        amount = math.nan
    if not (amount >= 0 and math.isfinite(amount)):
        raise bad_request(f"margin must be a number, 0 or more, or a share such as '5%', not {margin!r}.")
    return abs(was) * amount / 100 if share else amount


def _prompts_needed(margin: float, sd: float, alpha: float) -> int | None:
    """Return the number of prompts that would probably show two equal arms to be within the margin."""
    if margin <= 0 or not sd > 0:
        return None
    return n_needed(margin, sd, alpha=2 * alpha) if 2 * alpha < 0.8 else None  # noqa: PLR2004


def _nothing_in_common(observed: Observations, measure: Metric) -> Exception:
    failed = observed.failed[observed.frame["arm"] == _AFTER]
    if failed.all():
        return AssertionError(f"All {count(len(failed), 'call')} of the candidate failed.")
    if late := observed.mostly_late(measure):
        return bad_request(
            f"Most calls of {join_names(['the ' + side for side in late])} were measured late, so their "
            f"{measure.plural} decide nothing: make fewer calls at once."
        )
    return bad_request(
        f"Baseline and candidate have no prompt with {measure.plural} in common: run them on the same prompts."
    )


def _missing_and_failed(observed: Observations) -> str:
    """Describe prompts that are missing and calls that failed."""
    before, after = observed.calls_per_prompt > 0
    gone = int((before & ~after).sum())
    failed = observed.failed[observed.frame["arm"] == _AFTER]
    sentences = ""
    if gone:
        sentences += f" {gone} of the baseline's {int(before.sum())} prompts were not sent to the candidate."
    if failed.any():
        sentences += f" {int(failed.sum())} of the candidate's {count(len(failed), 'call')} failed."
    return sentences
