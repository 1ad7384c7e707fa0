"""Checks that arms can be asked: one without a key fails alone, if others have theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.errors import LLMError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.comparison.arms import Arm

__all__ = ["check_any_can_be_asked"]


def check_any_can_be_asked(arms: Sequence[Arm]) -> None:
    """Check that at least one arm can be asked.

    Raises
    ------
    LLMError
        No arm has its key, or one cannot be asked for another reason.
    """
    without_key: list[LLMError] = []
    for arm in arms:
        try:
            arm.service.check()
        except LLMError as exc:
            if exc.category != "authentication":
                raise
            without_key.append(exc)
    if len(without_key) == len(arms):
        raise without_key[0]
