"""How much a template may do: seconds, steps, and the size of what it makes.

A step is an operation, a call or a round of a loop. Sizes are counted in characters, items and cells. No step takes
long, because what it will make is checked before it is made, so an interrupt ends a template between two steps.
"""

from __future__ import annotations

from contextlib import contextmanager
from time import thread_time
from typing import TYPE_CHECKING

from ipyllm.templates.refusal import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_DEPTH", "MAX_DIGITS", "MAX_NODES", "MAX_SECONDS", "MAX_SIZE", "MAX_STEPS", "Limits"]

MAX_SECONDS = 10.0  # of processor time, because other work may slow a template down
MAX_STEPS = 1_000_000
MAX_SIZE = 10_000_000  # besides ten times the variables that are used
MAX_DIGITS = 4_300  # of a number; Python's own limit for writing one
MAX_DEPTH = 50  # of lists in lists
MAX_NODES = 10_000  # of a template's syntax tree, whose compilation cannot be interrupted
_INPUT_FACTOR = 10
_STEPS_PER_LOOK = 64  # at the clock


class Limits:
    """The limits of one rendering."""

    def __init__(self) -> None:
        self._deadline = thread_time() + MAX_SECONDS
        self._steps = 0
        self._made = 0
        self.allowed = MAX_SIZE

    def step(self) -> None:
        """Count a step."""
        self._steps += 1
        if not self._steps % _STEPS_PER_LOOK:
            self.look_at_clock()
        if self._steps > MAX_STEPS:
            raise RefusedError(f"takes more than {MAX_STEPS:,} steps: compute it in a cell and assign it to a name.")

    def look_at_clock(self) -> None:
        """Refuse when the time is up."""
        if thread_time() > self._deadline:
            raise RefusedError(f"takes longer than {MAX_SECONDS:g} s: compute it in a cell and assign it to a name.")

    def grant(self, size: int) -> None:
        """Allow for a variable of this size, of which a template may make several copies."""
        self.allowed += _INPUT_FACTOR * size

    def expect(self, size: int) -> None:
        """Refuse what would be larger than everything that the template may make."""
        if size > self.allowed:
            raise RefusedError(
                f"makes something of more than {self.allowed:,} characters or items: shorten it in a cell first."
            )

    def make(self, size: int) -> None:
        """Count what was made."""
        self._made += size
        self.expect(self._made)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time of the user's own function."""
        start = thread_time()
        try:
            yield
        finally:
            self._deadline += thread_time() - start
