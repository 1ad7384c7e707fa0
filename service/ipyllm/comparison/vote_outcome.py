"""The outcome of a vote on the answers of a comparison, and whether it may be cast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.comparison.votes import UNDECIDED
from ipyllm.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.comparison.arms import Arm

__all__ = ["check_outcome", "outcome_of"]


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


def check_outcome(outcome: str, arms: Sequence[Arm], complete: Sequence[Arm]) -> None:
    """Raise ``bad_request`` unless two arms have a complete answer, the preferred one among them."""
    if len(complete) < 2:  # noqa: PLR2004
        only = f"only {complete[0].mark} has a complete answer" if complete else "no arm has a complete answer"
        raise bad_request(f"There is nothing to vote on: {only}.")
    if outcome not in {*UNDECIDED, *(arm.label for arm in complete)}:
        mark = next(arm.mark for arm in arms if arm.label == outcome)
        choices = ", ".join([*(arm.mark for arm in complete), *UNDECIDED])
        raise bad_request(f"{mark} has no complete answer, so it is not part of the vote: choose one of {choices}.")
