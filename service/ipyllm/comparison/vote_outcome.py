"""The outcome of a vote on the answers of a comparison, and whether it may be cast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.comparison.votes import UNDECIDED, cast_vote
from ipyllm.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipyllm.comparison.arms import Arm
    from ipyllm.response import ChatResponse

__all__ = ["cast_on", "outcome_of"]


def outcome_of(which: str, arms: Sequence[Arm], *, names_hidden: bool) -> str:
    """Return the label that a mark or label means, or ``"tie"`` or ``"both_bad"``; raise ``bad_request`` for others."""
    wanted = which.strip()
    if wanted in UNDECIDED:
        return wanted
    for arm in arms:
        if wanted.upper() == arm.mark or (wanted in {arm.label, arm.full_label} and not names_hidden):
            return arm.label
    known = [arm.mark if names_hidden else f"{arm.mark} ({arm.label})" for arm in arms]
    raise bad_request(f"There is no arm {which!r} to vote for; there are: {', '.join([*known, *UNDECIDED])}.")


def _check_outcome(outcome: str, arms: Sequence[Arm], complete: Sequence[Arm]) -> None:
    """Raise ``bad_request`` unless two arms have a complete answer, the preferred one among them."""
    if len(complete) < 2:  # noqa: PLR2004
        only = f"only {complete[0].mark} has a complete answer" if complete else "no arm has a complete answer"
        raise bad_request(f"There is nothing to vote on: {only}.")
    if outcome not in {*UNDECIDED, *(arm.label for arm in complete)}:
        mark = next(arm.mark for arm in arms if arm.label == outcome)
        choices = ", ".join([*(arm.mark for arm in complete), *UNDECIDED])
        raise bad_request(f"{mark} has no complete answer, so it is not part of the vote: choose one of {choices}.")


def cast_on(
    arms: Sequence[Arm],
    complete: Mapping[int, ChatResponse],
    outcome: str | None,
    *,
    comparison: str,
    blind: bool,
    tags: Mapping[str, object] | None = None,
) -> None:
    """Store a vote on the ``complete`` answers, by the index of their arm, or withdraw it if ``outcome`` is None."""
    if outcome is not None:
        _check_outcome(outcome, arms, [arms[index] for index in complete])
    variants = {arm.variant: arm.request.prompt for arm in arms}
    cast_vote(
        {arms[index].full_label: response.call_id or None for index, response in complete.items()},
        next((arm.full_label for arm in arms if arm.label == outcome), outcome),
        prompt="\n\n".join(variants[name] for name in sorted(variants)),  # whatever the order of the arms
        blind=blind,
        origin=arms[0].request.provenance.origin,
        comparison=comparison,
        tags=tags,
    )
