"""The grid of an experiment: arms × prompts × repeats.

A hash of what is sent identifies a trial, so that a resumed run knows which trials have been paid for. The names of
arms and templates are no part of it: one can be renamed, or another added, and what was asked before has its answer.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from ipyllm.comparison.arms import canonical_json
from ipyllm.errors import bad_request
from ipyllm.experiment.row_content import RowContent
from ipyllm.experiment.row_identity import id_of_text
from ipyllm.messages import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ipyllm.comparison.arms import Arm
    from ipyllm.experiment.prompts import Prompt
    from ipyllm.messages import Message

__all__ = ["GRID_TAG", "TRIAL_TAG", "Grid", "Trial", "check_content"]

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
        """The messages that are sent; raises ``bad_request`` if the file of an image has gone or changed."""
        of_arm, of_row = self.arm.request.messages, self.prompt.messages
        if of_row[0]["role"] in SYSTEM:  # first, as servers want it
            return (of_row[0], *of_arm, *of_row[1:])
        return (*of_arm, *of_row)


class Grid:
    """All trials of an experiment: arms × prompts × repeats.

    ``prompts`` are those of all templates; an arm asks those of its own. ``self.prompts`` are those of the first, one
    for each row. ``trials`` are those of a larger grid, in the order of this one.
    """

    def __init__(
        self, arms: Sequence[Arm], prompts: Sequence[Prompt], repeats: int, trials: Iterable[Trial] | None = None
    ) -> None:
        self.arms = tuple(arms)
        self._of_variant: dict[str, list[Prompt]] = {}
        for prompt in prompts:
            self._of_variant.setdefault(prompt.variant, []).append(prompt)
        self.prompts = tuple(next(iter(self._of_variant.values()), ()))
        self.all_prompts = tuple(prompts)
        self.repeats = repeats
        self.trials = {trial.key: trial for trial in (self._make() if trials is None else trials)}

    def first(self, n: int) -> Grid:
        """Return the grid of the first ``n`` rows, with the same trials."""
        ids = {prompt.prompt_id for prompt in self.prompts[:n]}
        prompts = [prompt for prompt in self.all_prompts if prompt.prompt_id in ids]
        trials = [trial for trial in self.trials.values() if trial.prompt.prompt_id in ids]
        return Grid(self.arms, prompts, self.repeats, trials)

    def __len__(self) -> int:
        return len(self.arms) * len(self.prompts) * self.repeats

    def _make(self) -> Iterator[Trial]:
        for arm, keys in self._keys(lambda arm: arm.identity()):
            yield from (Trial(key, arm, prompt, repeat) for key, prompt, repeat in keys)

    def _keys(self, identity_of: Callable[[Arm], Any]) -> Iterator[tuple[Arm, Iterator[tuple[str, Prompt, int]]]]:
        """Yield each arm with the keys of its trials, by an identity of arms, and their prompts and repeats.

        Two templates may make the same text. Their calls are calls of their own, as those of repeats are.
        """
        contents = {
            variant: [canonical_json(prompt.sent).encode() for prompt in prompts]
            for variant, prompts in self._of_variant.items()
        }
        asked: dict[str, Counter[bytes]] = {}  # by arm without its template: how often a text
        for arm in self.arms:
            counter = asked.setdefault(canonical_json(arm.identity()), Counter())
            yield arm, self._keys_of(arm, identity_of(arm), contents[arm.variant], counter)

    def _keys_of(
        self, arm: Arm, identity: Any, contents: Sequence[bytes], asked: Counter[bytes]
    ) -> Iterator[tuple[str, Prompt, int]]:
        arm_hash = hashlib.sha256(canonical_json(identity).encode())
        several = len(self._of_variant) > 1
        for prompt, content in zip(self._of_variant[arm.variant], contents, strict=True):
            prompt_hash = arm_hash.copy()
            prompt_hash.update(content)
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
        for arm, keys in self._keys(lambda arm: arm.earlier_identity()):
            for key, _, _ in keys:
                trial = next(trials)
                if arm.is_in_earlier_identity:
                    found.setdefault(key, []).append(trial)
        return found

    @property
    def prompt_ids(self) -> set[str]:
        """The ids of the prompts, and those that rows of the ledger's version 4 have: hashes of the text."""
        earlier = {id_of_text(prompt.text, prompt.nth) for prompt in self.all_prompts}
        return {prompt.prompt_id for prompt in self.all_prompts} | earlier

    @property
    def name(self) -> str:
        """Default name of the experiment: the same arms and prompts have the same name.

        Addresses are no part of it, so that an experiment finds its rows, and says that the address has changed.
        """
        identities = [arm.earlier_identity() for arm in self.arms]
        contents = [identities, [prompt.sent for prompt in self.all_prompts]]
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
