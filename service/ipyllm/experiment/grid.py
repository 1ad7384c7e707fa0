"""The grid of an experiment: arms × prompts × repeats.

A hash of what is sent identifies a trial, so that a resumed run knows which trials have been paid for. The names of
arms and templates are no part of it: one can be renamed, or another added, and what was asked before has its answer.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ipyllm.comparison.arms import canonical_json
from ipyllm.experiment.row_identity import id_of_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ipyllm.comparison.arms import Arm
    from ipyllm.experiment.prompts import Prompt
    from ipyllm.messages import Message

__all__ = ["Grid", "Trial"]


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
    """All trials of an experiment: arms × prompts × repeats.

    ``prompts`` are those of all templates; an arm asks those of its own. ``self.prompts`` are those of the first, one
    for each row.
    """

    def __init__(self, arms: Sequence[Arm], prompts: Sequence[Prompt], repeats: int) -> None:
        self.arms = tuple(arms)
        self._of_variant: dict[str, list[Prompt]] = {}
        for prompt in prompts:
            self._of_variant.setdefault(prompt.variant, []).append(prompt)
        self.prompts = tuple(next(iter(self._of_variant.values()), ()))
        self.repeats = repeats
        self.trials = {trial.key: trial for trial in self._make()}

    def __len__(self) -> int:
        return len(self.arms) * len(self.prompts) * self.repeats

    def _make(self) -> Iterator[Trial]:
        asked: Counter[bytes] = Counter()
        for arm in self.arms:
            yield from (
                Trial(key, arm, prompt, repeat) for key, prompt, repeat in self._keys(arm, arm.identity(), asked)
            )

    def _keys(self, arm: Arm, identity: Any, asked: Counter[bytes]) -> Iterator[tuple[str, Prompt, int]]:
        """Yield the key of each trial of an arm with this identity, with its prompt and repeat.

        Two templates may make the same text. Their calls are calls of their own, as those of repeats are: ``asked``
        counts them.
        """
        arm_hash = hashlib.sha256(canonical_json(identity).encode())
        several = len(self._of_variant) > 1
        for prompt in self._of_variant[arm.variant]:
            prompt_hash = arm_hash.copy()
            prompt_hash.update(canonical_json([prompt.text, prompt.nth]).encode())
            if several:
                digest = prompt_hash.digest()
                if nth := asked[digest]:
                    prompt_hash.update(f"template {nth}".encode())
                asked[digest] += 1
            for repeat in range(self.repeats):
                trial_hash = prompt_hash.copy()
                trial_hash.update(str(repeat).encode())
                yield trial_hash.hexdigest()[:24], prompt, repeat

    @cached_property
    def earlier_keys(self) -> dict[str, list[Trial]]:
        """The trials by the keys that earlier versions gave them, which left most addresses out: several may share one.

        See :meth:`~ipyllm.comparison.arms.Arm.earlier_identity`.
        """
        found: dict[str, list[Trial]] = {}
        trials = iter(self.trials.values())
        asked: Counter[bytes] = Counter()
        for arm in self.arms:
            for key, _, _ in self._keys(arm, arm.earlier_identity(), asked):
                found.setdefault(key, []).append(next(trials))
        return found

    @property
    def prompt_ids(self) -> set[str]:
        """The ids of the prompts, and those that rows of the ledger's version 4 have: hashes of the text."""
        prompts = [prompt for prompts in self._of_variant.values() for prompt in prompts]
        earlier = {id_of_text(prompt.text, prompt.nth) for prompt in prompts}
        return {prompt.prompt_id for prompt in prompts} | earlier

    @property
    def name(self) -> str:
        """Default name of the experiment: the same arms and prompts have the same name.

        Addresses are no part of it, so that an experiment finds its rows, and says that the address has changed.
        """
        identities = [arm.earlier_identity() for arm in self.arms]
        asked = (prompt for prompts in self._of_variant.values() for prompt in prompts)
        contents = [identities, [[prompt.text, prompt.nth] for prompt in asked]]
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
        return self._signature(self.trials)

    @property
    def earlier_signature(self) -> str:
        """The signature that earlier versions gave the grid."""
        return self._signature(self.earlier_keys)

    def _signature(self, keys: Iterable[str]) -> str:
        return f"{self.shape}, {hashlib.sha256(''.join(sorted(keys)).encode()).hexdigest()[:12]}"
