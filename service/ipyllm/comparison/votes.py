"""What people preferred: one vote for each comparison, kept in the ledger beside the calls that were compared."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, get_args

from ipyllm.errors import LLMError
from ipyllm.request import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from ipyllm.ledger import Ledger

__all__ = ["UNDECIDED", "cast_vote", "votes"]

UNDECIDED: Final = ("tie", "both_bad")
"""Outcomes that prefer none."""


def cast_vote(
    arms: Mapping[str, str | None],
    outcome: str,
    *,
    prompt: str = "",
    blind: bool = False,
    origin: Origin = "api",
    comparison: str | None = None,
    tags: Mapping[str, object] | None = None,
    ledger: Ledger | None = None,
) -> str:
    """Keep a person's judgement of answers that were shown side by side.

    Returns at once, as a call does: the row is written by the ledger's thread, and waits in memory while the
    ledger cannot be written.

    Parameters
    ----------
    arms : mapping
        What was compared, two or more: label, usually the model's full name, to the id of the call that
        gave the answer, or None where it is in no ledger.
    outcome : str
        The label that was preferred, or ``"tie"``, or ``"both_bad"``.
    prompt : str
        What was asked.
    blind : bool
        Whether the labels were hidden while the person decided.
    origin : str
        Where the vote was cast, as for a call.
    comparison : str, optional
        Name of what was judged: a later vote of the same name takes the place of the one before, from
        whatever kernel. Without it, this vote is a comparison of its own, of the name that is returned.
    tags : mapping, optional
        To find it by.
    ledger : Ledger, optional
        Another ledger than the current one.

    Returns
    -------
    str
        The vote's id, a ULID.

    Raises
    ------
    LLMError
        Of category ``bad_request``: fewer than two arms, an outcome that is none of them, or what else is no vote.

    Examples
    --------
    >>> from ipyllm.ledger import Ledger
    >>> with Ledger("sqlite://") as ledger:
    ...     for outcome in ("openai/gpt-5-mini", "tie"):  # on second thought
    ...         vote_id = cast_vote(
    ...             {"openai/gpt-5-mini": None, "local/smollm2-135m": None}, outcome, comparison="c1", ledger=ledger
    ...         )
    ...     votes(ledger=ledger)[["comparison", "outcome"]].values.tolist()
    [['c1', 'tie']]
    """
    _check_arms(arms, outcome)
    _check_rest(prompt, blind, origin, comparison, tags)
    if ledger is None:
        from ipyllm.ledger import current_ledger

        ledger = current_ledger()
    from ulid import ULID

    from ipyllm.ledger.columns import VOTES
    from ipyllm.ledger.ids import kernel_id

    vote_id = str(ULID())
    ledger.put(
        {
            "vote_id": vote_id,
            "cast_at": datetime.now(UTC),
            "kernel_id": kernel_id(),
            "origin": origin,
            "comparison": vote_id if comparison is None else comparison,
            "prompt": prompt,
            "arms": dict(arms),
            "outcome": outcome,
            "blind": blind,
            "tags": dict(tags or {}),
        },
        VOTES,
    )
    return vote_id


def votes(
    kernel: str | None = "current",
    *,
    since: datetime | timedelta | str | None = None,
    until: datetime | timedelta | str | None = None,
    comparison: str | Sequence[str] | None = None,
    ledger: Ledger | None = None,
) -> pd.DataFrame:
    """Return one row for every comparison that was voted on, earliest vote first.

    Parameters
    ----------
    kernel : str or None
        ``"current"`` for the votes cast in this kernel, None for those of all kernels, or a kernel's id.
    since, until : datetime, timedelta or str, optional
        Cast at ``since`` or later, before ``until``; as for :func:`ipyllm.usage`.
    comparison : str or sequence of str, optional
        About one of these.
    ledger : Ledger, optional
        Another ledger than the current one.

    Returns
    -------
    DataFrame
        ``vote_id``, ``cast_at``, ``kernel_id``, ``origin``, ``comparison``, ``prompt``, ``arms`` (a dict of
        label to call id), ``outcome``, ``blind``, ``tags`` (a dict).

    Raises
    ------
    ValueError
        ``since`` or ``until`` is not a date.
    """
    from ipyllm.dataframes.filters import as_tuple, kernel_filter, read_frame
    from ipyllm.ledger.query import VoteQuery
    from ipyllm.text.times import parse_time

    query = VoteQuery(
        kernel_ids=kernel_filter(kernel),
        since=parse_time("since", since),
        until=parse_time("until", until),
        comparisons=as_tuple("comparison", comparison),
    )
    return read_frame(query, ledger)


def _check_arms(arms: object, outcome: object) -> None:
    """Raise what is wrong with what was compared, or with what came of it."""
    if not isinstance(arms, Mapping):
        raise _bad(f"The arms of a vote are a dict of label to call id, not {arms!r}.")
    for label, call_id in arms.items():
        if not isinstance(label, str) or not label or label in UNDECIDED:
            raise _bad(f"{label!r} cannot be the label of an arm: give the model's full name, for example.")
        if call_id is not None and not isinstance(call_id, str):
            raise _bad(f"The arm {label!r} names its call by {call_id!r}: give the call's id, a str, or None.")
    if len(arms) < 2:  # noqa: PLR2004
        raise _bad(f"A vote compares two arms or more, and this one has {len(arms)}: {list(arms)}.")
    outcomes = [*arms, *UNDECIDED]
    if outcome not in outcomes:
        near = difflib.get_close_matches(str(outcome), outcomes, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"It is one of: {', '.join(outcomes)}."
        raise _bad(f"The outcome {outcome!r} is none of the arms that were compared. {hint}")


def _check_rest(prompt: object, blind: object, origin: object, comparison: object, tags: object) -> None:
    """Raise what is wrong with what else is said of a vote."""
    if not isinstance(prompt, str):
        raise _bad(f"The prompt of a vote is the text that was asked, not {prompt!r}.")
    if not isinstance(blind, bool):
        raise _bad(f"blind={blind!r} is neither True nor False.")
    if origin not in get_args(Origin):
        raise _bad(f"A vote cannot come from {origin!r}: its origin is one of {', '.join(get_args(Origin))}.")
    if comparison is not None and (not isinstance(comparison, str) or not comparison):
        raise _bad(f"A comparison is known by a name, a str that is not empty; {comparison!r} is none.")
    if tags is not None and not isinstance(tags, Mapping):
        raise _bad(f"The tags of a vote are a dict, not {tags!r}.")


def _bad(sentence: str) -> LLMError:
    return LLMError(sentence, category="bad_request")
