"""Totals of a chat in one line; answers on other or deleted branches count too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ipyllm.text.format import count, money

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse

__all__ = ["ChatTotals"]


@dataclass(frozen=True, slots=True)
class ChatTotals:
    """Sums over the calls of a chat.

    Examples
    --------
    >>> from ipyllm.response import ChatResponse, Usage
    >>> usage = Usage(input_tokens=36, output_tokens=120, source="server")
    >>> str(ChatTotals().plus(ChatResponse(usage=usage, cost_usd=0.0)))
    '1 answer · 36 → 120 tokens · free'
    >>> str(ChatTotals().plus(ChatResponse(usage=usage, cost_usd=0.0000118)))  # not $0.00
    '1 answer · 36 → 120 tokens · $0.000012'
    """

    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    estimated: bool = False

    def plus(self, response: ChatResponse) -> ChatTotals:
        """Return the sums with one more call."""
        steps = response.steps or (response,)
        return replace(
            self,
            answers=self.answers + 1,
            input_tokens=self.input_tokens + sum(step.usage.input_tokens or 0 for step in steps),
            output_tokens=self.output_tokens + sum(step.usage.output_tokens or 0 for step in steps),
            cost_usd=self.cost_usd + sum(step.cost_usd or 0.0 for step in steps),
            unpriced=self.unpriced + any(step.cost_usd is None for step in steps),
            estimated=self.estimated or any(step.usage.source == "estimated" for step in steps),
        )

    def __str__(self) -> str:
        if not self.answers:
            return ""
        approx = "≈" if self.estimated else ""
        parts = [count(self.answers, "answer")]
        if self.input_tokens or self.output_tokens:
            parts.append(f"{approx}{self.input_tokens:,} → {self.output_tokens:,} tokens")
        if self.cost_usd:
            parts.append(approx + money(self.cost_usd))
        elif self.unpriced < self.answers:
            parts.append("free")
        if self.unpriced:
            parts.append("cost unknown" if self.unpriced == self.answers else f"cost of {self.unpriced} unknown")
        return " · ".join(parts)
