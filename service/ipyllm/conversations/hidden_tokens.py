"""Learns how many input tokens servers count beyond our upper estimates, so that a budget's bounds hold.

Servers add text that a request does not show: chat templates, instructions for tools. It differs between models, and
between requests with tools, with a schema and with neither.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from ipyllm.conversations.tokens import messages_of
from ipyllm.fork_safety import renewed_in_child

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Excess", "HiddenTokens", "Kind", "hidden_tokens", "kind_of"]

Kind = tuple[str, str, tuple[str, ...]]
"""Requests that are counted alike: address, model, and the fields to which servers add text of their own."""

_FIELDS: Final = (
    *("tools", "functions", "response_format", "reasoning_effort", "tool_choice", "thinking"),
    *("reasoning", "text"),  # on the Responses API
)
_TOOL_FIELDS: Final = ("tools", "functions")
_MARGIN_TOKENS: Final = 100
_TOOL_MARGIN_TOKENS: Final = 700  # Anthropic adds up to 530 tokens of instructions for tools
_MARGIN_SHARE: Final = 0.25
_KNOWN_MARGIN_TOKENS: Final = 16
_KNOWN_MARGIN_SHARE: Final = 0.02


def kind_of(base_url: str, body: Mapping[str, Any]) -> Kind:
    """Return the kind of the request with this JSON."""
    fields = [name for name in _FIELDS if body.get(name)]
    if any(isinstance(message.get("content"), list) for message in messages_of(body)):
        fields.append("parts")
    return base_url, str(body.get("model", "")), tuple(fields)


@dataclass(frozen=True, slots=True)
class Excess:
    """The most tokens that a server counted beyond an estimate, and the largest estimate that was compared."""

    tokens: int
    largest: int


class HiddenTokens:
    """Counts beyond the estimates, by kind of request; usable from any thread.

    Until a kind has been counted once, its margin is a quarter of the estimate and 100 tokens, 700 with tools. Then it
    is the largest excess so far, in proportion for longer requests than those counted, and a small reserve.

    Examples
    --------
    >>> hidden = HiddenTokens()
    >>> kind = kind_of("http://host/v1", {"model": "m"})
    >>> hidden.bound(kind, 27)
    134
    >>> hidden.learn(kind, 27, 60)
    >>> hidden.bound(kind, 27), hidden.bound(kind, 270)
    (78, 638)
    """

    def __init__(self) -> None:
        self._lock = renewed_in_child(threading.Lock())
        self._excess: dict[Kind, Excess] = {}

    def bound(self, kind: Kind, estimate: int) -> int:
        """Return the most input tokens that a server may count where we estimate ``estimate``."""
        known = self._excess.get(kind)
        if known is None:
            margin = _TOOL_MARGIN_TOKENS if set(_TOOL_FIELDS) & set(kind[2]) else _MARGIN_TOKENS
            return ceil(estimate * (1 + _MARGIN_SHARE)) + margin
        longer = max(1.0, estimate / max(known.largest, 1))
        excess = known.tokens * longer + longer - 1  # a count is a whole number, the share behind it may be 1 more
        return ceil((estimate + excess) * (1 + _KNOWN_MARGIN_SHARE)) + _KNOWN_MARGIN_TOKENS

    def learn(self, kind: Kind, estimate: int, counted: int) -> None:
        """Learn from a request for which the server counted ``counted`` tokens."""
        with self._lock:
            known = self._excess.get(kind, Excess(0, 0))
            self._excess[kind] = Excess(max(known.tokens, counted - estimate), max(known.largest, estimate))

    def snapshot(self) -> dict[Kind, Excess]:
        """Return what was learned so far, for another process."""
        return dict(self._excess)

    def update(self, learned: Mapping[Kind, Excess]) -> None:
        """Add what another process has learned."""
        for kind, excess in learned.items():
            self.learn(kind, excess.largest, excess.largest + excess.tokens)


_hidden_tokens = HiddenTokens()


def hidden_tokens() -> HiddenTokens:
    """Return what this process has learned."""
    return _hidden_tokens
