"""When an arm is left: a server that fails everything is not asked for every cell of a grid."""

from __future__ import annotations

from collections import Counter, deque
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ipyllm.errors import LLMError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from ipyllm.comparison.arms import Arm
    from ipyllm.response import ChatResponse

__all__ = ["MAX_FAILURES", "FailureLimit", "Outcome"]

MAX_FAILURES: Final = 20

_WINDOW: Final = 2.5  # calls of which half may not fail, for each failure in a row that is allowed
_BY_THE_ANSWER: Final = frozenset({"content_filter", "refusal"})
_BY_THE_PROMPT: Final = frozenset({"context_length"})


class Outcome(NamedTuple):
    """How a call ended: fields of a response, and columns of the ledger."""

    status: str
    finish_reason: str | None
    error_category: str | None
    cause: str | None
    error_message: str | None

    @classmethod
    def of(cls, response: ChatResponse) -> Self:
        """Return the outcome of a call."""
        values: list[Any] = [getattr(response, name) for name in cls._fields]
        return cls(*values)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the outcome of a call from its row."""
        values: list[Any] = [row.get(name) for name in cls._fields]
        return cls(*values)

    @property
    def has_ended(self) -> bool:
        """Whether it says something about the server."""
        return self.status in {"ok", "error", "truncated"}

    @property
    def category(self) -> Any:
        """Why the server failed; None if it answered, were it that the answer is no good."""
        if self.status == "ok" or self.finish_reason is not None or self.error_category in _BY_THE_ANSWER:
            return None
        return (
            self.cause or self.error_category if self.error_category == "max_retries_exceeded" else self.error_category
        )


class FailureLimit:
    """Leaves an arm after ``most`` failed calls in a row, or once half of its latest ``2.5 × most`` calls failed.

    After as many in a row over all arms of a server and model, all these are left. A content filter and an answer that
    is no good are no failures here, and a prompt that is too long counts in a row only: others may be shorter. With
    None, nothing is left.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._in_a_row: Counter[str] = Counter()  # by label, and by server
        self._latest: dict[str, deque[bool]] = {}

    def record(self, arm: Arm, outcome: Outcome) -> tuple[str, LLMError] | None:
        """Take an outcome; return the arm's label or its server if it is to be left now, with the reason."""
        if self._most is None or not outcome.has_ended:
            return None
        category = outcome.category
        latest = self._latest.setdefault(arm.label, deque(maxlen=ceil(_WINDOW * self._most)))
        latest.append(category is not None and category not in _BY_THE_PROMPT)
        for name in {arm.server, arm.label}:
            self._in_a_row[name] = 0 if category is None else self._in_a_row[name] + 1
        if category is None:
            return None
        for name in (arm.server, arm.label):
            if self._in_a_row[name] >= self._most:
                return name, _reason(name, f"{self._in_a_row[name]} calls in a row failed", outcome)
        if len(latest) == latest.maxlen and 2 * sum(latest) >= len(latest):
            return arm.label, _reason(arm.label, f"{sum(latest)} of {len(latest)} calls failed", outcome)
        return None


def _reason(name: str, what: str, outcome: Outcome) -> LLMError:
    return LLMError(
        f"{name} was left, because {what} ({outcome.category}). The last: {outcome.error_message}",
        category=outcome.category,
        model=name,
    )
