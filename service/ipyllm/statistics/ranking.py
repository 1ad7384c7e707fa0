"""``ranking()`` and ``win_matrix()``: ranks arms by votes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Any, Literal

import numpy as np
import pandas as pd

from ipyllm.errors import bad_request
from ipyllm.statistics.bradley_terry import PRIOR_SD, ComparisonOutcome, bootstrap_strengths, fit_strengths
from ipyllm.statistics.caveats import MAX_NAMES
from ipyllm.statistics.quantiles import check_share
from ipyllm.statistics.table import StatisticsFrame
from ipyllm.text.format import count, join_names
from ipyllm.text.suggest import suggest

__all__ = ["ranking", "win_matrix"]

_ELO = 400 / math.log(10)
_FEW_VOTES = 30
_EQUAL = 1e-6  # log-odds: the optimiser's rounding, not a difference
_NO_WINNER = ("tie", "both_bad")


def ranking(
    votes: Any,
    *,
    level: float = 0.95,
    interval: Literal["hessian", "bootstrap"] = "hessian",
    prior_sd: float = PRIOR_SD,
    seed: int = 0,
) -> StatisticsFrame:
    """Return the arms by strength, strongest first.

    Parameters
    ----------
    votes : DataFrame, or anything that has one as ``.votes``
        One row per vote: ``arms``, a dict of label to call id (or the labels); ``outcome``, the label of the
        chosen arm, ``"tie"`` or ``"both_bad"``; ``prompt``, where it is known.
    level : float
        Confidence of the intervals.
    interval : {"hessian", "bootstrap"}
        From the curvature of the posterior, or by drawing prompts with replacement. The bootstrap allows for
        dependence between votes on one prompt, but underestimates the uncertainty of an arm that won, or lost,
        every vote.
    prior_sd : float
        Standard deviation of the prior on strengths, in log-odds. It keeps an arm without a win finite.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    StatisticsFrame
        Index ``arm``. ``strength`` in log-odds around a mean of 0, with ``low`` and ``high``; ``elo``, the same with
        400 points for odds of 10 : 1 around 1000; ``votes``, ``wins``, ``losses``, ``ties`` and ``both_bad``; and
        ``p_best``, the probability that it is the strongest.

    Notes
    -----
    Bradley & Terry (1952) with ties after Davidson (1970) and a normal prior, see
    :func:`~ipyllm.statistics.fit_strengths`. ``both_bad`` counts as a tie: it says how good both are, not which
    one is better.

    Raises
    ------
    LLMError
        ``bad_request``: no votes, or an outcome that is not among the arms.

    Examples
    --------
    >>> votes = pd.DataFrame({"arms": [{"a": "1", "b": "2"}] * 4, "outcome": ["a", "a", "tie", "b"]})
    >>> table = ranking(votes)
    >>> list(table.index), table.loc["a", ["wins", "losses", "ties"]].to_list()
    (['a', 'b'], [2, 1, 1])
    """
    check_share(level, "level")
    if not (prior_sd > 0 and math.isfinite(prior_sd)):
        raise ValueError(f"prior_sd must be a number above 0, not {prior_sd!r}.")
    parsed = _read_votes(votes)
    labels = list(dict.fromkeys(arm for arms, _, _ in parsed for arm in arms))
    index_of = {label: i for i, label in enumerate(labels)}
    outcomes = [
        ComparisonOutcome(tuple(index_of[arm] for arm in arms), None if outcome in _NO_WINNER else index_of[outcome])
        for arms, outcome, _ in parsed
    ]
    fitted = fit_strengths(outcomes, len(labels), prior_sd=prior_sd)
    rng = np.random.default_rng(seed)
    if interval == "bootstrap":
        prompts = [i if prompt is None else prompt for i, (_, _, prompt) in enumerate(parsed)]
        samples = bootstrap_strengths(outcomes, len(labels), prompts, prior_sd=prior_sd, seed=seed)
        low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
    elif interval == "hessian":
        from scipy.special import ndtri

        half = float(ndtri((1 + level) / 2)) * np.sqrt(np.diag(fitted.covariance))
        low, high = fitted.strengths - half, fitted.strengths + half
        samples = rng.multivariate_normal(fitted.strengths, fitted.covariance, size=4000, method="eigh")
    else:
        raise ValueError(f"interval must be 'hessian' or 'bootstrap', not {interval!r}.")
    tallies = _tallies(parsed, labels)
    table = pd.DataFrame(
        {
            "strength": fitted.strengths,
            "low": low,
            "high": high,
            "elo": 1000 + _ELO * fitted.strengths,
            **{name: [tally[name] for tally in tallies] for name in ("votes", "wins", "losses", "ties", "both_bad")},
            "p_best": np.bincount(samples.argmax(axis=1), minlength=len(labels)) / len(samples),
        },
        index=pd.Index(labels, name="arm"),
    ).sort_values("strength", ascending=False, kind="stable")
    return StatisticsFrame.of(table, _conclusion(table, samples, index_of, level), list(_notes(parsed, table)))


def win_matrix(votes: Any) -> pd.DataFrame:
    """Return how often each arm (row) was preferred to each other (column); a tie is half a win for both.

    Parameters
    ----------
    votes : DataFrame, or anything that has one as ``.votes``
        As in :func:`ranking`.

    Returns
    -------
    DataFrame
        Arms × arms, the most often preferred first. ``table + table.T`` counts the votes between two.

    Examples
    --------
    >>> votes = pd.DataFrame({"arms": [{"a": "1", "b": "2"}] * 3, "outcome": ["a", "a", "tie"]})
    >>> win_matrix(votes).to_dict("index")
    {'a': {'a': 0.0, 'b': 2.5}, 'b': {'a': 0.5, 'b': 0.0}}
    """
    parsed = _read_votes(votes)
    labels = list(dict.fromkeys(arm for arms, _, _ in parsed for arm in arms))
    index_of = {label: i for i, label in enumerate(labels)}
    wins = np.zeros((len(labels), len(labels)))
    for arms, outcome, _ in parsed:
        for first, second in permutations(arms, 2):
            if outcome in _NO_WINNER or outcome == first:
                wins[index_of[first], index_of[second]] += 0.5 if outcome in _NO_WINNER else 1
    met = (wins + wins.T).sum(axis=1)
    order = np.argsort(-wins.sum(axis=1) / met, kind="stable")
    ordered = [labels[i] for i in order]
    return pd.DataFrame(wins[np.ix_(order, order)], index=ordered, columns=ordered)


def _read_votes(votes: Any) -> list[tuple[list[str], str, object]]:
    """Return arms, outcome and prompt of every vote."""
    if not isinstance(votes, pd.DataFrame):
        votes = getattr(votes, "votes", votes)
    if not isinstance(votes, pd.DataFrame):
        raise bad_request(f"votes must be a DataFrame of votes, not {type(votes).__name__}.")
    if votes.empty:
        raise bad_request("There are no votes yet, so nothing can be ranked.")
    for column in ("arms", "outcome"):
        if column not in votes.columns:
            raise bad_request(f"These votes have no column {column!r}. {suggest(column, map(str, votes.columns))}")
    prompts = votes["prompt"] if "prompt" in votes.columns else pd.Series(None, index=votes.index, dtype=object)
    parsed = []
    for given, outcome, prompt in zip(votes["arms"], votes["outcome"], prompts, strict=True):
        arms = list(dict.fromkeys(str(arm) for arm in given)) if isinstance(given, Mapping | list | tuple) else []
        if len(arms) < 2:  # noqa: PLR2004
            raise bad_request(f"A vote compares at least two arms, not {given!r}.")
        if str(outcome) not in {*arms, *_NO_WINNER}:
            raise bad_request(f"{outcome!r} is not an outcome of this vote. {suggest(outcome, [*arms, *_NO_WINNER])}")
        parsed.append((arms, str(outcome), None if pd.isna(prompt) else prompt))
    return parsed


def _tallies(parsed: list[tuple[list[str], str, object]], labels: list[str]) -> list[dict[str, int]]:
    tallies = {label: dict.fromkeys(("votes", "wins", "losses", "ties", "both_bad"), 0) for label in labels}
    for arms, outcome, _ in parsed:
        for arm in arms:
            tallies[arm]["votes"] += 1
            if outcome in _NO_WINNER:
                tallies[arm]["ties" if outcome == "tie" else "both_bad"] += 1
            else:
                tallies[arm]["wins" if arm == outcome else "losses"] += 1
    return list(tallies.values())


def _conclusion(table: pd.DataFrame, samples: np.ndarray, index_of: dict[str, int], level: float) -> str:
    if not table["wins"].any():
        return f"None of {int(table['votes'].max())} votes preferred one arm to another, so they cannot be ranked."
    arms = [str(arm) for arm in table.index]
    best = arms[0]
    equal = [str(arm) for arm in table.index[table["strength"] > table["strength"].iloc[0] - _EQUAL]]
    if len(equal) > 1:
        return f"{join_names(equal, limit=MAX_NAMES)} are equally strong in these votes."
    ahead = {arm: float((samples[:, index_of[best]] > samples[:, index_of[arm]]).mean()) for arm in arms[1:]}
    # Two-sided at `level`: the best one was not chosen before the votes were cast.
    needed = (1 + level) / 2
    close = [arm for arm, p in ahead.items() if p < needed]
    if not close:
        others = arms[1] if len(arms) == 2 else "every other arm"  # noqa: PLR2004
        return f"{best} is preferred to {others}, and stronger with a probability of {_percent(min(ahead.values()))}."
    return (
        f"{best} is ahead, but not clearly, of {join_names(close, limit=MAX_NAMES)}: its probability of being stronger "
        f"is {', '.join(f'{_percent(ahead[arm])} against {arm}' for arm in close[:3])}."
    )


def _percent(p: float) -> str:
    return "over 99.9 %" if p > 0.999 else f"{100 * p:.0f} %" if p < 0.99 else f"{100 * p:.1f} %"  # noqa: PLR2004


def _notes(parsed: list[tuple[list[str], str, object]], table: pd.DataFrame) -> Iterator[str]:
    fewest = int(table["votes"].min())
    if fewest < _FEW_VOTES:
        arms = [str(arm) for arm in table.index[table["votes"] == fewest]]
        yield f"Few votes: only {count(fewest, 'vote')} on {join_names(arms, limit=MAX_NAMES)}."
    shut_out = [str(arm) for arm in table.index[(table["wins"] == 0) | (table["losses"] == 0)]]
    if shut_out and table["wins"].any():
        named = join_names(shut_out, limit=MAX_NAMES)
        yield f"{named} won or lost every decided vote: its exact strength comes from the prior."
    bad = sum(outcome == "both_bad" for _, outcome, _ in parsed)
    if bad:
        yield f"{bad} of {count(len(parsed), 'vote')} found all answers bad: the best arm may not be good."
    if len(groups := _connected_groups(parsed)) > 1:
        yield (
            "Some arms were never compared, not even through others: their order comes from the prior alone "
            f"({'; '.join(join_names(group, limit=MAX_NAMES) for group in groups)})."
        )
    prompts = [prompt for _, _, prompt in parsed if prompt is not None]
    if prompts and len(set(map(str, prompts))) < len(prompts):
        different = count(len(set(map(str, prompts))), "prompt")
        yield (
            f"{len(prompts)} votes on {different}: votes on one prompt are correlated: check interval='bootstrap' too."
        )


def _connected_groups(parsed: list[tuple[list[str], str, object]]) -> list[list[str]]:
    """Return the groups of arms that are connected by votes."""
    groups: list[set[str]] = []
    for arms, _, _ in parsed:
        touching = [group for group in groups if group & set(arms)]
        groups = [group for group in groups if not group & set(arms)]
        groups.append(set(arms).union(*touching))
    return [sorted(group) for group in groups]
