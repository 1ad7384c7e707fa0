"""Filters of the dashboard: validates what was clicked or typed, and builds the query of the ledger."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.filters import as_tuple, kernel_filter
from ipyllm.dataframes.never_sent import never_sent
from ipyllm.errors import LLMError, bad_request
from ipyllm.text.format import shorten
from ipyllm.text.suggest import suggest
from ipyllm.text.times import parse_time

if TYPE_CHECKING:
    import pandas as pd

    from ipyllm.ledger.query import Query

__all__ = ["SCOPES", "SPANS", "STATUSES", "DashboardFilters"]

SPANS = {
    "15 minutes": timedelta(minutes=15),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
    "all": None,
}
"""Time spans by the name that is shown."""

SCOPES = {"kernel": "this kernel", "all": "all kernels"}
STATUSES = {
    "ok": "ok",
    "cut off": "cut off at max_tokens",
    "error": "error",
    "truncated": "truncated · broke off",
    "not sent": "not sent",
    "cancelled": "cancelled",
    "running": "running",
    "interrupted": "interrupted",
}
"""What the list says of calls, and how the menu names it: statuses of the ledger, and two kinds within these."""

_LEDGER_STATUS = {"cut off": None, "not sent": "error"}  # of what is none itself
_MAX_CHARS = 1_000
_QUOTED_CHARS = 100  # of a wrong value


@dataclass(frozen=True, slots=True)
class DashboardFilters:
    """Conditions that the shown calls meet.

    Attributes
    ----------
    scope : {"kernel", "all"}
        Calls of this kernel, or of all kernels that use the ledger.
    since : str
        A name of :data:`SPANS`.
    model : str
        Full name; empty for any.
    status : str
        One of :data:`STATUSES`; empty for any. ``cut off`` are answers that reached ``max_tokens``, whatever became of
        them, and ``not sent`` are errors before the first attempt, which ``error`` does not include.
    tag : str
        ``key=value``; empty for any.

    Examples
    --------
    >>> DashboardFilters().replace("since", "hour").since
    'hour'
    >>> DashboardFilters().replace("since", "huor")
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: 'huor' is not a value of since. Did you mean 'hour'?
    """

    scope: str = "kernel"
    since: str = "day"
    model: str = ""
    status: str = ""
    tag: str = ""

    def replace(self, name: str, value: object) -> DashboardFilters:
        """Return these filters with one of them changed.

        Raises
        ------
        LLMError
            Category ``bad_request``: the filter or the value does not exist.
        """
        names = [field.name for field in fields(self)]
        if name not in names:
            raise _unknown("The dashboard has no filter {}.", name, names)
        text = "" if value is None else str(value).strip()
        if len(text) > _MAX_CHARS:
            raise bad_request(
                f"The dashboard's {name} has {len(text):,} characters; at most {_MAX_CHARS:,} are allowed."
            )
        allowed = {"scope": list(SCOPES), "since": list(SPANS), "status": ["", *STATUSES]}.get(name)
        if allowed is not None and text not in allowed:
            raise _unknown(f"{{}} is not a value of {name}.", text, [choice for choice in allowed if choice])
        if name == "tag" and text and not text.partition("=")[1]:
            raise bad_request(f"A tag filter must have the form key=value, not {text!r}.")
        changed: dict[str, Any] = {name: text}
        return dataclasses.replace(self, **changed)

    def query(self) -> Query:
        """Return the query of the ledger for these filters."""
        from ipyllm.ledger.query import Query

        key, _, value = self.tag.partition("=")
        return Query(
            kernel_ids=kernel_filter("current" if self.scope == "kernel" else None),
            since=parse_time("since", SPANS[self.since]),
            models=as_tuple("model", self.model or None),
            statuses=as_tuple("status", _LEDGER_STATUS.get(self.status, self.status) or None),
            tags={key.strip(): value.strip()} if self.tag else {},
        )

    def of_status(self, calls: pd.DataFrame) -> pd.DataFrame:
        """Return those of ``calls`` that the list shows with this status: :meth:`query` may find others besides.

        Parameters
        ----------
        calls : DataFrame
            With the columns ``status``, ``finish_reason`` and ``attempts``.
        """
        if not self.status:
            return calls
        if self.status == "cut off":
            return calls[calls["finish_reason"] == "length"]
        unsent = never_sent(calls)
        return calls[unsent if self.status == "not sent" else (calls["status"] == self.status) & ~unsent]


def _unknown(sentence: str, given: str, allowed: list[str]) -> LLMError:
    given = shorten(given, _QUOTED_CHARS)
    return bad_request(f"{sentence.format(repr(given))} {suggest(given, allowed)}")
