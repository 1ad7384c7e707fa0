"""The scorer that uses people's votes on comparisons."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.scorers.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from ipyllm.ledger import Ledger

__all__ = ["human"]

_TIE_VALUES = {"tie": 0.5, "both_bad": 0.0}


def human(votes: pd.DataFrame | None = None, *, ledger: Ledger | None = None, name: str = "human") -> Scorer:
    """Score how often people preferred an answer to others: 1 always, 0 never; a tie is one half.

    Parameters
    ----------
    votes : DataFrame, optional
        As returned by :func:`ipyllm.votes`. By default all votes of people in the ledger, of every kernel, at the
        time of scoring.
    ledger : Ledger, optional
        The ledger to read instead of the current one.
    name : str
        Name of the scorer.

    Notes
    -----
    Answers are identified by ``call_id``; one without votes has no score. "Both bad" is 0 for each. This share of
    votes depends on which answers were compared: to compare arms that were not compared equally often, use
    ``results.ranking()``.

    Examples
    --------
    >>> import pandas as pd
    >>> from ipyllm import ChatResponse, scorers
    >>> cast = pd.DataFrame({"arms": [{"a": "01A", "b": "01B"}] * 2, "outcome": ["a", "tie"]})
    >>> scorer = scorers.human(cast)
    >>> [scorer.call(ChatResponse(call_id=call_id)) for call_id in ("01A", "01B", "01C")]
    [0.75, 0.25, None]
    """
    if votes is None:
        # Votes are read for each table, since they are cast after the calls.
        return Scorer(
            name,
            partial(_read_and_score, ledger=ledger),
            inline=True,
            higher_is_better=True,
            begin=partial(_read_votes, ledger),
        )
    missing = [column for column in ("arms", "outcome") if column not in getattr(votes, "columns", ())]
    if missing:
        raise bad_request(f"votes has no column {' and '.join(missing)}: use a table as returned by ipyllm.votes().")
    return Scorer(
        name,
        partial(_human, shares=_shares(zip(votes["arms"], votes["outcome"], strict=True))),
        inline=True,
        higher_is_better=True,
    )


def _read_votes(ledger: Ledger | None) -> partial[float | None]:
    from ipyllm.comparison.votes import votes

    all_votes = votes(kernel=None, ledger=ledger)
    by_people = (
        (arms, outcome)
        for arms, outcome, tags in zip(all_votes["arms"], all_votes["outcome"], all_votes["tags"], strict=True)
        if "judge" not in (tags or {})
    )
    return partial(_human, shares=_shares(by_people))


def _read_and_score(response: Any, row: Mapping[str, Any], *, ledger: Ledger | None) -> float | None:
    return _read_votes(ledger)(response, row)


def _human(response: Any, row: Mapping[str, Any], *, shares: Mapping[str, float]) -> float | None:  # noqa: ARG001
    return shares.get(response.call_id)


def _shares(votes: Iterable[tuple[Mapping[str, str | None], str]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for arms, outcome in votes:
        for label, call_id in arms.items():
            if call_id:
                values.setdefault(call_id, []).append(_TIE_VALUES.get(outcome, float(label == outcome)))
    return {call_id: sum(each) / len(each) for call_id, each in values.items()}
