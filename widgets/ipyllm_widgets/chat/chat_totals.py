"""Totals of a chat in one line; answers on other or deleted branches count too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ipyllm.text.format import count, money
from ipyllm.totals import CostTotal, TokenTotal

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse

__all__ = ["ChatTotals"]


@dataclass(frozen=True, slots=True)
class ChatTotals:
    """Sums over the calls of a chat. An answer that used tools took several.

    Examples
    --------
    >>> from ipyllm.response import ChatResponse, Usage
    >>> usage = Usage(input_tokens=36, output_tokens=120, source="server")
    >>> totals = ChatTotals().plus(ChatResponse(usage=usage, cost_usd=0.0000118))
    >>> str(totals)  # not $0.00
    '1 answer · 36 → 120 tokens · $0.000012'
    >>> str(totals.plus(ChatResponse(status="cancelled")))
    '2 answers · at least 36 → 120 tokens · at least $0.000012 · 1 of 2 calls was not counted'
    >>> str(ChatTotals().plus(ChatResponse(usage=usage, cost_usd=0.0)))
    '1 answer · 36 → 120 tokens · free'
    """

    answers: int = 0
    tokens: TokenTotal = field(default_factory=TokenTotal)
    cost: CostTotal = field(default_factory=CostTotal)

    def plus(self, response: ChatResponse) -> ChatTotals:
        """Return the sums with one more answer."""
        return ChatTotals(
            self.answers + 1,
            self.tokens + TokenTotal.of_response(response),
            self.cost + CostTotal.of_response(response),
        )

    def __str__(self) -> str:
        if not self.answers:
            return ""
        tokens, cost = self.tokens, self.cost
        if 0 < tokens.n_uncounted == cost.n_unknown < tokens.n == cost.n and cost.usd:  # the same calls: said once
            least = f"at least {tokens.input_tokens:,} → {tokens.output_tokens:,} tokens · at least {money(cost.usd)}"
            verb = "was" if tokens.n_uncounted == 1 else "were"
            left_out = f"{tokens.n_uncounted:,} of {count(tokens.n, 'call')} {verb} not counted"
            return f"{count(self.answers, 'answer')} · {least} · {left_out}"
        counted = [str(tokens)] if tokens.n else []
        return " · ".join([count(self.answers, "answer"), *counted, cost.sentence])
