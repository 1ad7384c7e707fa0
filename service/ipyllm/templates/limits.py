"""How much a template may do: seconds, steps, and the size of what it makes.

A step is an operation, a call or a round of a loop. Sizes are counted in characters, items and cells. No step takes
long, because what would be large is refused before it is made, so an interrupt ends a template between two steps.
"""

from __future__ import annotations

from time import thread_time

from ipyllm.templates.refusal import ADVICE, RefusedError

__all__ = ["MAX_BITS", "MAX_DEPTH", "MAX_NODES", "MAX_SECONDS", "MAX_SIZE", "MAX_STEPS", "Limits"]

MAX_SECONDS = 10.0  # of processor time, because other work may slow a template down
MAX_STEPS = 1_000_000
MAX_SIZE = 10_000_000  # besides ten times the variables that are used
MAX_BITS = 14_285  # of a number: 4,300 digits, Python's own limit for writing one
MAX_DEPTH = 50  # of lists in lists
MAX_NODES = 10_000  # of a template's syntax tree, whose compilation cannot be interrupted
_TICKS_PER_LOOK = 64  # at the clock


class Limits:
    """The limits of one rendering."""

    def __init__(self) -> None:
        self.deadline = thread_time() + MAX_SECONDS
        self._steps = self._ticks = self._made = 0
        self.allowed = MAX_SIZE

    def step(self) -> None:
        """Count a step."""
        self._look_at_clock()
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise RefusedError(f"takes more than {MAX_STEPS:,} steps: {ADVICE}.")

    def _look_at_clock(self) -> None:
        self._ticks += 1
        if self._ticks % _TICKS_PER_LOOK == 1 and thread_time() > self.deadline:
            raise RefusedError(f"takes longer than {MAX_SECONDS:g} s: {ADVICE}.")

    def expect(self, size: int) -> None:
        """Refuse what would be larger than everything that the template may make."""
        if size > self.allowed:
            raise RefusedError(
                f"makes something of more than {self.allowed:,} characters or items: shorten it in a cell first."
            )

    def make(self, size: int) -> None:
        """Count what was made."""
        self._look_at_clock()
        self._made += size
        if self._made > self.allowed:
            self.expect(self._made)

    def expect_bits(self, bits: float) -> None:
        """Refuse a number that is too long."""
        if bits > MAX_BITS:
            raise RefusedError(f"computes a number of more than 4,300 digits: {ADVICE}.")
