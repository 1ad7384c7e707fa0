"""``ranking()`` and ``win_matrix()``: ranks arms by votes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from ipyllm.errors import bad_request
from ipyllm.statistics.bradley_terry import PRIOR_SD, ComparisonOutcome, Strengths, fit_strengths
from ipyllm.statistics.caveats import FEW_PROMPTS, MAX_NAMES
from ipyllm.statistics.quantiles import check_share
from ipyllm.statistics.table import StatisticsFrame, format_interval, format_level
from ipyllm.text.format import count, join_names
from ipyllm.text.suggest import suggest

__all__ = ["estimate_columns", "prompts_to_rank", "ranking", "win_matrix"]

_ELO = 400 / math.log(10)
_EQUAL = 1e-6  # log-odds: the optimiser's rounding, not a difference
_NO_WINNER = ("tie", "both_bad")
_DRAWS = 4000


def ranking(votes: Any, *, level: float = 0.95, prior_sd: float = PRIOR_SD, seed: int = 0) -> StatisticsFrame:
    """Return the arms by strength, strongest first.

    Parameters
    ----------
    votes : DataFrame, or anything that has one as ``.votes``
        One row per vote: ``arms``, a dict of label to call id (or the labels); ``outcome``, the label of the
        chosen arm, ``"tie"`` or ``"both_bad"``; ``prompt_id`` or ``prompt``, and ``blind``, where they are known. Votes
        on one prompt may depend on each other; a vote without a prompt has its own.
    level : float
        Confidence of the intervals.
    prior_sd : float
        Standard deviation of the prior on strengths, in log-odds. It keeps an arm without a win finite.
    seed : int
        Seed of the draws for ``p_best``.

    Returns
    -------
    StatisticsFrame
        Index ``arm``. ``strength`` in log-odds around a mean of 0, with ``low`` and ``high``; ``elo``, the same with
        400 points for odds of 10 : 1 around 1000; ``votes``, their ``prompts``, ``wins``, ``losses``, ``ties`` and
        ``both_bad``; ``behind``, the log-odds by which the strongest arm is ahead of this one, with ``behind_low`` and
        ``behind_high``; and ``p_best``, the probability that it is the strongest. These and the limits are null for
        arms with votes on too few prompts, see :func:`prompts_to_rank`.

    Notes
    -----
    Bradley & Terry (1952) with ties after Davidson (1970) and a normal prior, standard errors clustered by prompt
    (:func:`~ipyllm.statistics.fit_strengths`), and Student's t with as many degrees of freedom as there are prompts
    with votes on the arms, less one. An interval of ``strength`` holds by itself. Those of ``behind`` hold together for
    all pairs of arms (Bonferroni), since the strongest is known only from the votes; the conclusion reads them: an arm
    is preferred to those whose ``behind_low`` is above 0. ``both_bad`` counts as a tie: it says how good both are, not
    which one is better.

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
    >>> print(table.conclusion)
    Votes on 4 prompts are too few to rank 2 arms with 95% confidence: at least 6 prompts are needed.
    """
    check_share(level, "level")
    if not (prior_sd > 0 and math.isfinite(prior_sd)):
        raise ValueError(f"prior_sd must be a number above 0, not {prior_sd!r}.")
    parsed = _read_votes(votes)
    labels = list(dict.fromkeys(arm for vote in parsed for arm in vote.arms))
    index_of = {label: i for i, label in enumerate(labels)}
    outcomes = [
        ComparisonOutcome(
            tuple(index_of[arm] for arm in vote.arms), None if vote.outcome in _NO_WINNER else index_of[vote.outcome]
        )
        for vote in parsed
    ]
    fitted = fit_strengths(outcomes, len(labels), clusters=[vote.cluster for vote in parsed], prior_sd=prior_sd)
    groups = _connected_groups(parsed)
    tallies = _tallies(parsed, labels)
    prompts = np.array([tally["prompts"] for tally in tallies])
    # Nothing is known about arms that were never compared, not even through others.
    usable = prompts if len(groups) == 1 else np.zeros_like(prompts)
    table = pd.DataFrame(
        {
            **estimate_columns(fitted, usable, level, seed),
            **{name: [tally[name] for tally in tallies] for name in tallies[0]},
        },
        index=pd.Index(labels, name="arm"),
    ).sort_values("strength", ascending=False, kind="stable")
    order = ["strength", "low", "high", "elo", *tallies[0], "behind", "behind_low", "behind_high", "p_best"]
    conclusion = _conclusion(table, parsed, groups, level)
    return StatisticsFrame.of(table[order], conclusion, list(_notes(votes, parsed, table[table["low"].notna()])))


def prompts_to_rank(n_arms: int, *, level: float = 0.95) -> int:
    """Return the number of prompts with votes below which arms cannot be ranked.

    Notes
    -----
    If two arms are equally strong but all votes on a prompt agree, n prompts favour the same arm with a
    probability of ``2^(1 - n)``. This must be at most ``1 - level``, divided by the number of pairs of arms.

    Examples
    --------
    >>> prompts_to_rank(2), prompts_to_rank(6)
    (6, 10)
    """
    check_share(level, "level")
    return 1 + max(0, math.ceil(math.log2(math.comb(n_arms, 2) / (1 - level)) - 1e-9))


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
    labels = list(dict.fromkeys(arm for vote in parsed for arm in vote.arms))
    index_of = {label: i for i, label in enumerate(labels)}
    wins = np.zeros((len(labels), len(labels)))
    for vote in parsed:
        for first, second in permutations(vote.arms, 2):
            if vote.outcome in _NO_WINNER or vote.outcome == first:
                wins[index_of[first], index_of[second]] += 0.5 if vote.outcome in _NO_WINNER else 1
    met = (wins + wins.T).sum(axis=1)
    order = np.argsort(-wins.sum(axis=1) / met, kind="stable")
    ordered = [labels[i] for i in order]
    return pd.DataFrame(wins[np.ix_(order, order)], index=ordered, columns=ordered)


@dataclass(frozen=True)
class _Vote:
    arms: list[str]
    outcome: str
    prompt: str | None

    @property
    def cluster(self) -> object:
        """The prompt; a vote without a known one has its own."""
        return id(self) if self.prompt is None else self.prompt


def _read_votes(votes: Any) -> list[_Vote]:
    if not isinstance(votes, pd.DataFrame):
        votes = getattr(votes, "votes", votes)
    if not isinstance(votes, pd.DataFrame):
        raise bad_request(f"votes must be a DataFrame of votes, not {type(votes).__name__}.")
    if votes.empty:
        raise bad_request("There are no votes yet, so nothing can be ranked.")
    for column in ("arms", "outcome"):
        if column not in votes.columns:
            raise bad_request(f"These votes have no column {column!r}. {suggest(column, map(str, votes.columns))}")
    parsed = []
    for given, outcome, prompt in zip(votes["arms"], votes["outcome"], _prompts(votes), strict=True):
        arms = list(dict.fromkeys(str(arm) for arm in given)) if isinstance(given, Mapping | list | tuple) else []
        if len(arms) < 2:  # noqa: PLR2004
            raise bad_request(f"A vote compares at least two arms, not {given!r}.")
        if str(outcome) not in {*arms, *_NO_WINNER}:
            raise bad_request(f"{outcome!r} is not an outcome of this vote. {suggest(outcome, [*arms, *_NO_WINNER])}")
        parsed.append(_Vote(arms, str(outcome), None if pd.isna(prompt) or not str(prompt) else str(prompt)))
    return parsed


def _prompts(votes: pd.DataFrame) -> pd.Series[Any]:
    """Return the id of each vote's prompt, or else its text: the texts of one row differ where templates do."""
    known = pd.Series(None, index=votes.index, dtype=object)
    for column in ("prompt", "prompt_id"):
        if column in votes.columns:
            known = votes[column].astype(object).where(votes[column].notna(), known)
    return known


def estimate_columns(fitted: Strengths, prompts: np.ndarray, level: float, seed: int) -> dict[str, np.ndarray]:
    """Return the columns of strengths and of differences from the strongest arm, given the prompts of each arm."""
    from scipy.special import stdtrit

    n_arms = prompts.size
    enough = prompts >= prompts_to_rank(n_arms, level=level)
    usable = np.where(enough, prompts, 0)
    best = int(np.where(enough, fitted.strengths, -np.inf).argmax())
    others = enough & (np.arange(n_arms) != best)

    def interval(contrasts: np.ndarray, n: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values = contrasts @ fitted.strengths
        se = np.sqrt(np.einsum("ci,ij,cj->c", contrasts, fitted.covariance, contrasts))
        half = np.where(n > 1, stdtrit(np.maximum(n - 1, 1), 1 - alpha / 2) * se, np.nan)
        return values, values - half, values + half

    strength, low, high = interval(np.eye(n_arms), usable, 1 - level)
    n_pairs = math.comb(n_arms, 2)
    behind, behind_low, behind_high = interval(
        np.eye(n_arms)[best] - np.eye(n_arms),
        np.where(others, np.minimum(usable, usable[best]), 0),
        (1 - level) / n_pairs,
    )
    p_best = np.full(n_arms, np.nan)
    if enough.all():
        rng = np.random.default_rng(seed)
        df = prompts.min() - 1
        spread = rng.multivariate_normal(np.zeros(n_arms), fitted.covariance, size=_DRAWS, method="eigh")
        draws = fitted.strengths + spread / np.sqrt(rng.chisquare(df, size=(_DRAWS, 1)) / df)
        p_best = np.bincount(draws.argmax(axis=1), minlength=n_arms) / _DRAWS
    return {
        "strength": strength,
        "low": low,
        "high": high,
        "elo": 1000 + _ELO * strength,
        "behind": np.where(others, behind, np.nan),
        "behind_low": behind_low,
        "behind_high": behind_high,
        "p_best": p_best,
    }


def _tallies(parsed: list[_Vote], labels: list[str]) -> list[dict[str, int]]:
    tallies = {label: dict.fromkeys(("votes", "prompts", "wins", "losses", "ties", "both_bad"), 0) for label in labels}
    clusters: dict[str, set[object]] = {label: set() for label in labels}
    for vote in parsed:
        for arm in vote.arms:
            tallies[arm]["votes"] += 1
            clusters[arm].add(vote.cluster)
            if vote.outcome in _NO_WINNER:
                tallies[arm]["ties" if vote.outcome == "tie" else "both_bad"] += 1
            else:
                tallies[arm]["wins" if arm == vote.outcome else "losses"] += 1
    return [{**tally, "prompts": len(clusters[arm])} for arm, tally in tallies.items()]


def _conclusion(table: pd.DataFrame, parsed: list[_Vote], groups: list[list[str]], level: float) -> str:
    n_votes = len(parsed)
    if not table["wins"].any():
        none = "The only vote prefers no" if n_votes == 1 else f"None of {n_votes:,} votes prefers one"
        return f"{none} arm to another, so they cannot be ranked."
    if len(groups) > 1:
        return (
            "Some arms were never compared, not even through others, so they cannot be ranked: "
            f"{'; '.join(join_names(group, limit=MAX_NAMES) for group in groups)}."
        )
    needed = prompts_to_rank(len(table), level=level)
    enough = table["prompts"] >= needed
    lacking = _too_few_prompts(table[~enough], len(table), needed, level) if not enough.all() else ""
    if enough.sum() < 2:  # noqa: PLR2004
        return lacking
    prompts = {vote.prompt for vote in parsed}
    on = f" on {count(len(prompts), 'prompt')}" if None not in prompts else ""
    order = f"In {count(n_votes, 'vote')}{on}, {_order(table[enough], len(table), level)}"
    return f"{order} {lacking}".rstrip()


def _order(ranked: pd.DataFrame, n_arms: int, level: float) -> str:
    """Say what the intervals of ``behind`` show about arms with votes on enough prompts."""
    best, others = str(ranked.index[0]), ranked.iloc[1:]
    equal = [str(arm) for arm in others.index[others["behind"] < _EQUAL]]
    if equal:
        return f"{join_names([best, *equal], limit=MAX_NAMES)} are equally strong."
    clear = others["behind_low"] > 0
    behind, close = ([str(arm) for arm in others.index[which]] for which in (clear, ~clear))
    if not close:
        whom = "every other arm" if len(behind) == n_arms - 1 > 1 else join_names(behind, limit=MAX_NAMES)
        nearest = others.iloc[int(others["behind_low"].argmin())]
        return f"{best} is preferred to {whom}: {_share(nearest, n_arms, level)}."
    preferred = f" {best} is preferred to {join_names(behind, limit=MAX_NAMES)}." if behind else ""
    return (
        f"{best} is ahead of {join_names(close, limit=MAX_NAMES)}, but not clearly: "
        f"{_share(others[~clear].iloc[0], n_arms, level)}.{preferred}"
    )


def _too_few_prompts(too_few: pd.DataFrame, n_arms: int, needed: int, level: float) -> str:
    fewest = int(too_few["prompts"].min())
    if len(too_few) == n_arms:
        return (
            f"Votes on {count(fewest, 'prompt')} are too few to rank {n_arms} arms with {format_level(level)} "
            f"confidence: at least {needed} prompts are needed."
        )
    named = join_names([str(arm) for arm in too_few.index], limit=MAX_NAMES)
    return (
        f"{named} cannot be ranked: {'its' if len(too_few) == 1 else 'their'} votes are on {count(fewest, 'prompt')}, "
        f"and at least {needed} are needed with {n_arms} arms at {format_level(level)} confidence."
    )


def _share(row: pd.Series[Any], n_arms: int, level: float) -> str:
    """Say which share of votes the strongest arm wins against this one."""

    def share(log_odds: float) -> str:
        return _share_text(1 / (1 + math.exp(-log_odds)))

    interval = format_interval(row["behind_low"], row["behind_high"], share)
    together = ", all pairs together" if n_arms > 2 else ""  # noqa: PLR2004
    return (
        f"it wins an estimated {share(row['behind'])}{interval} of the votes that prefer it or {row.name} "
        f"({format_level(level)} confidence{together})"
    )


def _share_text(p: float) -> str:
    decimals = 0 if 0.01 <= p <= 0.99 else 1  # noqa: PLR2004
    return "over 99.9%" if p > 0.999 else "under 0.1%" if p < 0.001 else f"{p:.{decimals}%}"  # noqa: PLR2004


def _notes(votes: Any, parsed: list[_Vote], ranked: pd.DataFrame) -> Iterator[str]:
    """Yield what to bear in mind of the votes and of the arms that could be ranked."""
    fewest = int(ranked["prompts"].min()) if len(ranked) else FEW_PROMPTS
    if fewest < FEW_PROMPTS:
        arms = [str(arm) for arm in ranked.index[ranked["prompts"] == fewest]]
        yield (
            f"{join_names(arms, limit=MAX_NAMES)} {'has' if len(arms) == 1 else 'have'} votes on only "
            f"{count(fewest, 'prompt')}: so few may not represent what you will ask."
        )
    unknown = sum(vote.prompt is None for vote in parsed)
    if unknown:
        yield (
            f"{_are(unknown, len(parsed))} on an unknown prompt: each counts as a prompt of its own, so the intervals "
            "are too narrow if several are on the same one."
        )
    all_won = ranked.index[(ranked["wins"] > 0) & (ranked["losses"] == 0)]
    all_lost = ranked.index[(ranked["wins"] == 0) & (ranked["losses"] > 0)]
    extremes = [
        f"{join_names([str(arm) for arm in arms], limit=MAX_NAMES)} {did}"
        for arms, did in ((all_won, "won"), (all_lost, "lost"))
        if len(arms)
    ]
    if extremes:
        yield (
            f"{' and '.join(extremes)} every vote that was not a tie. How far ahead or behind that puts an arm cannot "
            "be told from votes: its strength is partly assumed."
        )
    bad = sum(vote.outcome == "both_bad" for vote in parsed)
    if bad:
        yield f"{bad} of {count(len(parsed), 'vote')} found all answers bad: the best arm may not be good."
    frame = votes if isinstance(votes, pd.DataFrame) else votes.votes
    seen = int((frame["blind"].astype("boolean") == False).sum()) if "blind" in frame.columns else 0  # noqa: E712
    if seen:
        yield f"{_are(seen, len(parsed))} not blind: who sees a model's name may prefer the name."


def _are(n: int, total: int) -> str:
    return f"{n:,} of {count(total, 'vote')} {'is' if n == 1 else 'are'}"


def _connected_groups(parsed: list[_Vote]) -> list[list[str]]:
    """Return the groups of arms that are connected by votes."""
    groups: list[set[str]] = []
    for vote in parsed:
        touching = [group for group in groups if group & set(vote.arms)]
        groups = [group for group in groups if not group & set(vote.arms)]
        groups.append(set(vote.arms).union(*touching))
    return [sorted(group) for group in groups]
