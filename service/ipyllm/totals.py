"""Sums over calls of which some are unknown: lower bounds, which say so wherever they are shown."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Self

from ipyllm.response import NOT_BILLED
from ipyllm.text.format import UNKNOWN, money

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipyllm.response import ChatResponse, Usage

__all__ = ["CostTotal", "TokenTotal"]


@dataclass(frozen=True, slots=True)
class CostTotal:
    """The cost of calls, in US dollars.

    Attributes
    ----------
    usd : float
        Sum of the known costs.
    n : int
        Number of calls.
    n_unknown : int
        Those of them whose cost is unknown. If there are any, ``usd`` is a lower bound.

    Examples
    --------
    >>> print(CostTotal.of([0.10, 0.06]))
    $0.16
    >>> print(CostTotal.of([0.10, None, 0.06]), "|", CostTotal.of([None, None]), "|", CostTotal.of([0.0]))
    ≥ $0.16, 1 of 3 unknown | unknown | free
    >>> print(CostTotal.of([0.0, None]))
    unknown for 1 of 2
    >>> (CostTotal.of([0.10]) + CostTotal.of([None])).amount
    '≥ $0.10'
    """

    usd: float = 0.0
    n: int = 0
    n_unknown: int = 0

    @classmethod
    def of(cls, costs: Iterable[float | None]) -> Self:
        """Return the total of these costs; None is unknown."""
        costs = list(costs)
        known = [cost for cost in costs if cost is not None]
        return cls(sum(known), len(costs), len(costs) - len(known))

    @classmethod
    def of_response(cls, response: ChatResponse) -> Self:
        """Return the total of an answer: of all calls that it took."""
        return cls.of(step.cost_usd for step in response.steps or (response,))

    def __add__(self, other: CostTotal) -> CostTotal:
        return CostTotal(self.usd + other.usd, self.n + other.n, self.n_unknown + other.n_unknown)

    @property
    def known_usd(self) -> float:
        """The sum for a table, ``usd``; NaN where no cost is known."""
        return math.nan if self.n_unknown and self.n_unknown == self.n else self.usd

    @property
    def amount(self) -> str:
        """The amount alone: ``$0.16``, ``≥ $0.16``, or a dash if no cost is known but of calls that were free."""
        if self.n_unknown and not self.usd:
            return UNKNOWN
        return f"≥ {money(self.usd)}" if self.n_unknown else money(self.usd)

    @property
    def caveat(self) -> str:
        """What the amount does not include: ``10 of 20 unknown``; empty if it includes all."""
        return f"{self.n_unknown:,} of {self.n:,} unknown" if self.n_unknown else ""

    def __str__(self) -> str:
        if self.n_unknown and not self.usd:
            return "unknown" if self.n_unknown == self.n else f"unknown for {self.n_unknown:,} of {self.n:,}"
        return self.cell if self.usd else "free"

    @property
    def cell(self) -> str:
        """The total for a cell of a table: ``$0``, a dash, or ``≥ $0.16, 10 of 20 unknown``."""
        return f"{self.amount}, {self.caveat}" if 0 < self.n_unknown < self.n else self.amount

    @property
    def sentence(self) -> str:
        """The total for a line of figures: ``$0.16``, ``free``, ``cost unknown``, ``cost ≥ $0.16, 1 of 3 unknown``."""
        return f"cost {self}" if self.n_unknown else str(self)


@dataclass(frozen=True, slots=True)
class TokenTotal:
    """Tokens of calls as the servers counted them; estimates are not added to counts.

    Attributes
    ----------
    input_tokens, output_tokens : int
        Sums of the counts.
    n : int
        Number of calls.
    n_uncounted : int
        Those of them without a count of input or output. If there are any, the sums are lower bounds.
    n_estimated : int
        Those of the uncounted that have an estimate of what is missing.
    input_estimated, output_estimated : int
        Sums of these estimates; shown if they are all that is known.

    Examples
    --------
    >>> print(TokenTotal(36, 120, n=1))
    36 → 120 tokens
    >>> print(TokenTotal(36, 120, n=1) + TokenTotal(n=1, n_uncounted=1), "|", TokenTotal(n=1, n_uncounted=1))
    ≥ 36 → 120 tokens, 1 of 2 not counted | tokens not counted
    >>> print(TokenTotal(n=1, n_uncounted=1, n_estimated=1, input_estimated=13, output_estimated=153))
    ~13 → ~153 tokens
    """

    input_tokens: int = 0
    output_tokens: int = 0
    n: int = 0
    n_uncounted: int = 0
    n_estimated: int = 0
    input_estimated: int = 0
    output_estimated: int = 0

    @classmethod
    def of_response(cls, response: ChatResponse) -> Self:
        """Return the total of an answer: of all calls for it that a server did not refuse."""
        usages = [step.usage for step in response.steps or (response,) if step.price_source not in NOT_BILLED]
        return cls(
            sum(usage.input_tokens or 0 for usage in usages),
            sum(usage.output_tokens or 0 for usage in usages),
            len(usages),
            sum(usage.total_tokens is None for usage in usages),
            sum(usage.total_tokens is None and _has_estimate(usage) for usage in usages),
            sum(usage.input_tokens_estimated or 0 for usage in usages if usage.input_tokens is None),
            sum(usage.output_tokens_estimated or 0 for usage in usages if usage.output_tokens is None),
        )

    def __add__(self, other: TokenTotal) -> TokenTotal:
        return TokenTotal(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def caveat(self) -> str:
        """What the sums do not include: ``1 of 2 not counted``; empty if they include all."""
        return f"{self.n_uncounted:,} of {self.n:,} not counted" if self.n_uncounted else ""

    def __str__(self) -> str:
        if 0 < self.n_estimated == self.n:
            input_ = _estimate(self.input_tokens, self.input_estimated)
            return f"{input_} → {_estimate(self.output_tokens, self.output_estimated)} tokens"
        if self.n_uncounted and not (self.input_tokens or self.output_tokens):
            return "tokens not counted"
        tokens = f"{self.input_tokens:,} → {self.output_tokens:,} tokens"
        return f"≥ {tokens}, {self.caveat}" if self.n_uncounted else tokens


def _has_estimate(usage: Usage) -> bool:
    """Return whether each missing count has an estimate."""
    sides = ((usage.input_tokens, usage.input_tokens_estimated), (usage.output_tokens, usage.output_tokens_estimated))
    return all(count is not None or estimate is not None for count, estimate in sides)


def _estimate(counted: int, estimated: int) -> str:
    return f"~{counted + estimated:,}" if estimated else f"{counted:,}"
