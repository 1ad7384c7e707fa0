"""The grid of an experiment: arms × prompts × repeats.

A hash of what is sent identifies a trial, so that a resumed run knows which trials have been paid for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ipyllm.comparison.arms import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ipyllm.comparison.arms import Arm
    from ipyllm.experiment.prompts import Prompt
    from ipyllm.messages import Message

__all__ = ["GRID_TAG", "TRIAL_TAG", "Grid", "Trial"]

TRIAL_TAG: Final = "cell"
"""The tag that holds a trial's key."""

GRID_TAG: Final = "grid"
"""The tag that holds the grid's signature."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One prompt sent to one arm, for one of its repeats."""

    key: str
    arm: Arm
    prompt: Prompt
    repeat: int
    warmup: bool = False

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages that are sent."""
        return (*self.arm.request.messages, {"role": "user", "content": self.prompt.text})


class Grid:
    """All trials of an experiment: arms × prompts × repeats."""

    def __init__(self, arms: Sequence[Arm], prompts: Sequence[Prompt], repeats: int) -> None:
        self.arms = tuple(arms)
        self.prompts = tuple(prompts)
        self.repeats = repeats
        self.trials = {trial.key: trial for trial in self._make()}

    def __len__(self) -> int:
        return len(self.arms) * len(self.prompts) * self.repeats

    def _make(self) -> Iterator[Trial]:
        for arm in self.arms:
            arm_hash = hashlib.sha256(canonical_json(arm.identity()).encode())
            for prompt in self.prompts:
                prompt_hash = arm_hash.copy()
                prompt_hash.update(canonical_json([prompt.text, prompt.nth]).encode())
                for repeat in range(self.repeats):
                    trial_hash = prompt_hash.copy()
                    trial_hash.update(str(repeat).encode())
                    yield Trial(trial_hash.hexdigest()[:24], arm, prompt, repeat)

    @property
    def name(self) -> str:
        """Default name of the experiment: the same arms and prompts have the same name."""
        contents = [[arm.identity() for arm in self.arms], [[prompt.text, prompt.nth] for prompt in self.prompts]]
        return f"experiment-{hashlib.sha256(canonical_json(contents).encode()).hexdigest()[:8]}"

    @property
    def shape(self) -> str:
        """The size in words."""
        sizes = {"arm": len(self.arms), "prompt": len(self.prompts), "repeat": self.repeats}
        # Stored in the ledger and compared: no thousands separators.
        return " × ".join(f"{n} {noun}{'s' if n != 1 else ''}" for noun, n in sizes.items())

    @property
    def signature(self) -> str:
        """The size and a hash of all trials."""
        return f"{self.shape}, {hashlib.sha256(''.join(sorted(self.trials)).encode()).hexdigest()[:12]}"
