"""The grid of an experiment: arms × prompts × repeats.

A hash of what is sent identifies a trial, so that a resumed run knows which trials have been paid for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ipyllm.comparison.arms import canonical_json
from ipyllm.errors import bad_request
from ipyllm.experiment.row_content import RowContent
from ipyllm.messages import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ipyllm.comparison.arms import Arm
    from ipyllm.experiment.prompts import Prompt
    from ipyllm.messages import Message

__all__ = ["Grid", "Trial", "check_content"]


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
        """The messages that are sent; raises ``bad_request`` if the file of an image has gone or changed."""
        of_row = self.prompt.messages
        n_system = sum(1 for message in of_row[:1] if message["role"] in SYSTEM)  # first, as servers want it
        return (*of_row[:n_system], *self.arm.request.messages, *of_row[n_system:])


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
                prompt_hash.update(canonical_json(prompt.sent).encode())
                for repeat in range(self.repeats):
                    trial_hash = prompt_hash.copy()
                    trial_hash.update(str(repeat).encode())
                    yield Trial(trial_hash.hexdigest()[:24], arm, prompt, repeat)

    @property
    def name(self) -> str:
        """Default name of the experiment: the same arms and prompts have the same name."""
        contents = [[arm.identity() for arm in self.arms], [prompt.sent for prompt in self.prompts]]
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


def check_content(arms: Sequence[Arm], prompts: Sequence[Prompt]) -> None:
    """Raise ``bad_request`` if an arm cannot be sent the messages or images of a row."""
    contents = [(prompt, prompt.content) for prompt in prompts if isinstance(prompt.content, RowContent)]
    with_system = next((prompt for prompt, content in contents if content.has_system), None)
    both = next((arm for arm in arms if arm.system is not None), None)
    if with_system is not None and both is not None:
        raise bad_request(
            f"Row {with_system.row} has a system message of its own, and the arm {both.label!r} has another: leave "
            "system=… out, or take the message out of the rows."
        )
    if pictured := next((prompt for prompt, content in contents if content.has_images), None):
        for arm in arms:
            arm.service.resolve(replace(arm.request, messages=Trial("", arm, pictured, 0).messages))
