"""Progress of a run: how many calls have ended, what they cost, and what is asked no more."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ipyllm.errors import LLMError
from ipyllm.text.format import join_names
from ipyllm.totals import CostTotal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.comparison.arms import Arm
    from ipyllm.response import Category

__all__ = ["RunProgress"]

_MAX_NAMES: Final = 4

_DIFFERING: Final = re.compile(r"[^\s\"'(:;,]+/[^\s\"'):;,]+|…|\d+(?= calls?\b)|(?<= of )\d+(?= calls)")
"""Full names of models, and numbers of calls."""


@dataclass(slots=True)
class RunProgress:
    """Progress of a run. Written by one thread, read by any."""

    to_do: int  # calls to make; warm-ups do not count
    ended: int = 0  # calls that ended
    failed: int = 0  # calls that ended in an error
    elsewhere: int = 0  # calls that others made, who run the same experiment
    in_flight: int = 0  # calls that are being made
    cost: CostTotal = field(default_factory=CostTotal)  # with warm-ups
    stopped: str | None = None  # why it ended early, in one sentence
    stopped_by: Category = "quota"  # the category of that
    unreachable: dict[str, LLMError] = field(default_factory=dict)  # servers that could not be reached, with the error
    left: dict[str, LLMError] = field(default_factory=dict)  # arms and servers that failed too often, with the reason
    one_at_a_time: bool = False  # whether there are embedded models, and they are asked one call at a time

    def is_left(self, arm: Arm) -> bool:
        """Return whether an arm is asked no more."""
        return arm.server in self.unreachable or arm.server in self.left or arm.label in self.left

    def problems(self) -> list[str]:
        """Return a sentence for each reason why servers and arms are asked no more."""
        return [*(f"{names} could not be reached: {error}" for names, error in self._unreachable()), *self._left()]

    def report_problems(self) -> None:
        """Warn the caller's caller of servers and arms that are asked no more; raise if no model was reached."""
        if self.unreachable and not self.ended:
            one = len(self.unreachable) == 1
            reasons = "; ".join(
                f"{'' if one else f'{names}: '}{error}".rstrip(".") for names, error in self._unreachable()
            )
            first = next(iter(self.unreachable.values()))
            end = "" if reasons.endswith("?") else "."
            raise LLMError(
                f"No model could be asked: {reasons}{end}", category=first.category, status_code=first.status_code
            )
        for names, error in self._unreachable():
            warnings.warn(f"{names} could not be reached, so no other calls were made there: {error}", stacklevel=3)
        for reason in self._left():
            warnings.warn(f"{reason} Other calls were not made there: run() again asks them.", stacklevel=3)

    def _unreachable(self) -> list[tuple[str, LLMError]]:
        """Return the servers that could not be reached for the same reason, and the error of the first."""
        return [(join_names(names, limit=_MAX_NAMES), self.unreachable[names[0]]) for names in _alike(self.unreachable)]

    def _left(self) -> list[str]:
        """Return a sentence for the arms and servers that were left for the same reason."""
        sentences = []
        for names in _alike(self.left):
            sentence = str(self.left[names[0]])
            if len(names) > 1:
                was_left = f"{names[0]} was left, "
                sentence = f"{join_names(names, limit=_MAX_NAMES)} were left, each {sentence.removeprefix(was_left)}"
            sentences.append(sentence)
        return sentences


def _alike(errors: Mapping[str, LLMError]) -> list[list[str]]:
    """Return the names of the errors in groups that differ only in names of models and in numbers of calls."""
    groups: dict[str, list[str]] = {}
    for name, error in errors.items():
        without_name = str(error).replace(name, "…")
        groups.setdefault(_DIFFERING.sub("…", without_name), []).append(name)
    return list(groups.values())
