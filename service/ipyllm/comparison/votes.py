"""People's votes on comparisons, stored in the ledger beside the calls."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, get_args

from ipyllm.errors import bad_request
from ipyllm.request import Origin
from ipyllm.text.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    import pandas as pd

    from ipyllm.ledger import Ledger

__all__ = ["UNDECIDED", "cast_vote", "votes", "without_failed_arms"]

UNDECIDED: Final = ("tie", "both_bad")
"""Outcomes without a preferred arm."""

_IDS_AT_ONCE = 10_000
"""Call ids in one query: SQLite takes 32,766 values, PostgreSQL 65,535."""


def cast_vote(
    arms: Mapping[str, str | None],
    outcome: str | None,
    *,
    prompt: str = "",
    blind: bool = False,
    origin: Origin = "api",
    comparison: str | None = None,
    tags: Mapping[str, object] | None = None,
    ledger: Ledger | None = None,
) -> str:
    """Store a person's vote on answers that were shown side by side, or withdraw it.

    Returns at once: the ledger's thread writes the row as soon as it can.

    Parameters
    ----------
    arms : mapping
        At least two arms. Keys are labels, usually the model's full name. Values are ids of the calls, or None for a
        call that is not in a ledger.
    outcome : str or None
        The preferred label, or ``"tie"``, or ``"both_bad"``. None withdraws the vote on the ``comparison``, whoever
        cast it: it is in no table and no ranking any more.
    prompt : str
        The prompt of the calls.
    blind : bool
        Whether the labels were hidden until the vote.
    origin : str
        Where the vote was cast, as for a call.
    comparison : str, optional
        Name of the comparison: a later vote of the same name, from any kernel, replaces this one. By default the
        vote's id.
    tags : mapping, optional
        Tags of the vote, to filter by.
    ledger : Ledger, optional
        By default the current one.

    Returns
    -------
    str
        The vote's id, a ULID.

    Raises
    ------
    LLMError
        ``bad_request``: fewer than two arms, an unknown outcome, nothing to withdraw, or another invalid argument.

    Examples
    --------
    >>> from ipyllm.ledger import Ledger
    >>> with Ledger("sqlite://") as ledger:
    ...     for outcome in ("openai/gpt-6-luna", "tie"):  # the second replaces the first
    ...         vote_id = cast_vote(
    ...             {"openai/gpt-6-luna": None, "local/smollm2-135m": None}, outcome, comparison="c1", ledger=ledger
    ...         )
    ...     votes(ledger=ledger)[["comparison", "outcome"]].values.tolist()
    [['c1', 'tie']]
    """
    if outcome is None and comparison is None:
        raise bad_request("A vote is withdrawn by the name of its comparison: give comparison=…")
    _check_arms(arms, outcome)
    _check_details(prompt, blind, origin, comparison, tags)
    if ledger is None:
        from ipyllm.ledger import ledger_for_calls

        ledger = ledger_for_calls()
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
    """Return one row for every comparison with a vote, earliest vote first. Withdrawn votes are left out.

    Arms whose call failed or was cancelled, by the ledger, are in no vote: a vote for one of them, or on fewer than two
    others, is left out.

    Parameters
    ----------
    kernel : str or None
        ``"current"`` for this kernel, None for all kernels, or a kernel's id.
    since, until : datetime, timedelta or str, optional
        Cast at ``since`` or later, before ``until``; as for :func:`ipyllm.usage`.
    comparison : str or sequence of str, optional
        Names of comparisons.
    ledger : Ledger, optional
        By default the current one.

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
    found = read_frame(query, ledger)
    found = found[found["outcome"].notna()]  # without those that were withdrawn
    return without_failed_arms(found, _failed_calls(found, ledger))


def without_failed_arms(votes: pd.DataFrame, failed: Container[str | None]) -> pd.DataFrame:
    """Return the votes without the arms whose call id is among ``failed``.

    A vote for such an arm, or on fewer than two others, is left out.
    """
    import pandas as pd

    def left(arms: Any) -> Any:
        return {label: id_ for label, id_ in arms.items() if id_ not in failed} if isinstance(arms, Mapping) else arms

    def holds(arms: Any, outcome: str) -> bool:
        return not isinstance(arms, Mapping) or (len(arms) >= 2 and outcome in {*arms, *UNDECIDED})  # noqa: PLR2004

    arms = pd.Series([left(given) for given in votes["arms"]], index=votes.index, dtype=object)
    kept = pd.Series(map(holds, arms, votes["outcome"]), index=votes.index, dtype=bool)
    return votes.assign(arms=arms)[kept].reset_index(drop=True)


def _failed_calls(found: pd.DataFrame, ledger: Ledger | None) -> set[str]:
    """Return the ids of the calls in these votes that failed or were cancelled."""
    from ipyllm.dataframes.filters import read_frame
    from ipyllm.ledger.columns import FINAL
    from ipyllm.ledger.query import Query

    ids = sorted({id_ for arms in found["arms"] if arms for id_ in arms.values() if id_})
    failed: set[str] = set()
    for start in range(0, len(ids), _IDS_AT_ONCE):
        chunk = tuple(ids[start : start + _IDS_AT_ONCE])
        query = Query(call_ids=chunk, statuses=tuple(FINAL - {"ok"}), text=False)
        failed.update(read_frame(query, ledger)["call_id"])
    return failed


def _check_arms(arms: object, outcome: object) -> None:
    if not isinstance(arms, Mapping):
        raise bad_request(f"arms must be a dict from label to call id, not {arms!r}.")
    for label, call_id in arms.items():
        if not isinstance(label, str) or not label or label in UNDECIDED:
            raise bad_request(f"{label!r} cannot be the label of an arm: use the model's full name, for example.")
        if call_id is not None and not isinstance(call_id, str):
            raise bad_request(f"The call id of the arm {label!r} must be a str or None, not {call_id!r}.")
    if outcome is None:
        return
    if len(arms) < 2:  # noqa: PLR2004
        raise bad_request(f"A vote compares at least two arms, but this one has {len(arms)}: {list(arms)}.")
    outcomes = [*arms, *UNDECIDED]
    if outcome not in outcomes:
        raise bad_request(f"The outcome {outcome!r} is not one of the arms. {suggest(outcome, outcomes)}")


def _check_details(prompt: object, blind: object, origin: object, comparison: object, tags: object) -> None:
    if not isinstance(prompt, str):
        raise bad_request(f"prompt must be a string, not {prompt!r}.")
    if not isinstance(blind, bool):
        raise bad_request(f"blind must be True or False, not {blind!r}.")
    if origin not in get_args(Origin):
        raise bad_request(f"There is no origin {origin!r}. {suggest(origin, get_args(Origin))}")
    if comparison is not None and (not isinstance(comparison, str) or not comparison):
        raise bad_request(f"comparison must be a name, not {comparison!r}.")
    if tags is not None and not isinstance(tags, Mapping):
        raise bad_request(f"tags must be a dict, not {tags!r}.")
