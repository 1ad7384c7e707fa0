"""Progress of a run: how many calls have ended, what they cost, and what is asked no more."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.totals import CostTotal

if TYPE_CHECKING:
    from ipyllm.comparison.arms import Arm
    from ipyllm.response import Category

__all__ = ["RunProgress"]


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
        """Return a sentence for each server and arm that is asked no more."""
        unreachable = [f"{server} could not be reached: {error}" for server, error in self.unreachable.items()]
        return [*unreachable, *map(str, self.left.values())]

    def report_problems(self) -> None:
        """Warn the caller's caller of each server and arm that is asked no more; raise if no model was reached."""
        if self.unreachable and not self.ended:
            reasons = "; ".join(str(error).rstrip(".") for error in self.unreachable.values())
            first = next(iter(self.unreachable.values()))
            raise LLMError(
                f"No model could be reached: {reasons}.", category=first.category, status_code=first.status_code
            )
        for server, error in self.unreachable.items():
            warnings.warn(f"{server} could not be reached, so its other calls were not made: {error}", stacklevel=3)
        for reason in self.left.values():
            warnings.warn(f"{reason} Its other calls were not made: run() again asks them.", stacklevel=3)
