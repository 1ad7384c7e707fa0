"""A simulated table: in each cell, how often something happened in a number of runs with a fixed seed."""

from __future__ import annotations

import importlib
import math
import pkgutil
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Cell", "Outcome", "Simulation", "find_simulations"]

_NONE = "–"


@dataclass(frozen=True)
class Outcome:
    """What came out in one cell.

    Attributes
    ----------
    share : float or None
        Of the runs, between 0 and 1: in which the interval covered the truth, or the conclusion was wrong. None if no
        run had an interval or a conclusion, because there is too little data for one.
    warned : bool
        Whether a note tells the user that the figure is imprecise under these conditions. The bound need not hold then.
    """

    share: float | None
    warned: bool = False

    @classmethod
    def of(cls, covered: Sequence[bool], noted: Sequence[bool], *, at_least: float) -> Outcome:
        """Return the share of covered runs; it is warned of if runs that are covered or have a note keep the bound."""
        if not covered:
            return cls(None)
        share = sum(covered) / len(covered)
        either = sum(hit or note for hit, note in zip(covered, noted, strict=True)) / len(covered)
        return cls(share, warned=share < at_least <= either)


@dataclass(frozen=True)
class Cell:
    """A cell: ``simulate(rng, runs)`` makes its outcome. It must be picklable: use a ``functools.partial``."""

    row: str
    column: str
    simulate: Callable[[np.random.Generator, int], Outcome]


@dataclass(frozen=True)
class Simulation:
    """A table, and the bound that each of its cells keeps.

    Attributes
    ----------
    title : str
        What the cells show, with units: "Coverage of 95 % intervals of a mean".
    corner : str
        What rows and columns are: "scores ╲ prompts".
    cells : tuple of Cell
        The smallest first: the tests run it.
    runs : int
        Runs of each cell.
    bound : float
        Every share is at least, or at most, this, unless a note warns.
    at_least : bool
        Whether the bound is a lower one: for coverage, not for errors.
    """

    title: str
    corner: str
    cells: tuple[Cell, ...]
    runs: int
    bound: float
    at_least: bool

    def rng(self, cell: Cell) -> np.random.Generator:
        """Return the cell's own generator, whatever else is simulated."""
        return np.random.default_rng(zlib.crc32(f"{self.title}|{cell.row}|{cell.column}".encode()))

    def run(self, cell: Cell, runs: int | None = None) -> Outcome:
        """Simulate one cell."""
        return cell.simulate(self.rng(cell), self.runs if runs is None else runs)

    def missed(self, outcome: Outcome) -> bool:
        """Return whether a cell is beyond the bound without a warning, by more than two standard errors of its runs."""
        if outcome.share is None or outcome.warned:
            return False
        error = 2 * math.sqrt(self.bound * (1 - self.bound) / self.runs)
        return outcome.share < self.bound - error if self.at_least else outcome.share > self.bound + error

    def markdown(self, outcomes: list[Outcome]) -> str:
        """Return the table of the outcomes of all cells, in their order; ``*`` marks cells with a warning."""
        rows = list(dict.fromkeys(cell.row for cell in self.cells))
        columns = list(dict.fromkeys(cell.column for cell in self.cells))
        texts = {
            (cell.row, cell.column): self._text(outcome) for cell, outcome in zip(self.cells, outcomes, strict=True)
        }
        lines = [f"| {self.corner} | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
        lines += [f"| {row} | {' | '.join(texts.get((row, column), '') for column in columns)} |" for row in rows]
        return "\n".join(lines)

    def caption(self) -> str:
        """Return the sentence above the table."""
        sign = "≥" if self.at_least else "≤"
        return f"{self.title} ({sign} {self.bound:g}; {self.runs:,} runs a cell):"

    def _text(self, outcome: Outcome) -> str:
        if outcome.share is None:
            return _NONE
        mark = "**" if self.missed(outcome) else ""
        return f"{mark}{outcome.share:.3f}{mark}{'*' if outcome.warned else ''}"


def find_simulations() -> dict[str, Simulation]:
    """Return all simulations by the names of their modules."""
    from benchmarks.simulate import tables

    names = sorted(module.name for module in pkgutil.iter_modules(tables.__path__))
    return {name: importlib.import_module(f"{tables.__name__}.{name}").SIMULATION for name in names}
