"""Which calls the dashboard shows: read from what was clicked or typed, and turned into a query of the ledger."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.filters import as_tuple, kernel_filter
from ipyllm.errors import LLMError
from ipyllm.text.times import parse_time

if TYPE_CHECKING:
    from ipyllm.ledger.query import Query

__all__ = ["SCOPES", "SPANS", "STATUSES", "Filters"]

SPANS = {
    "15 minutes": timedelta(minutes=15),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
    "all": None,
}
"""How far back, by the name that is shown."""

SCOPES = {"kernel": "this kernel", "all": "all kernels"}
STATUSES = ("ok", "error", "truncated", "cancelled", "running", "interrupted")
_LONGEST = 1_000
_REPEATED = 100  # characters of what was wrong


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions on the calls, all of them together.

    Attributes
    ----------
    scope : {"kernel", "all"}
        The calls of this kernel, or of every kernel that shares the ledger.
    since : str
        A name of :data:`SPANS`.
    model : str
        Full name; empty for every model.
    status : str
        One of :data:`STATUSES`; empty for every status.
    tag : str
        ``key=value``; empty for every call.

    Examples
    --------
    >>> Filters().having("since", "hour").since
    'hour'
    >>> Filters().having("since", "huor")
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: The dashboard's since is one of 15 minutes, hour, day, week, month, all, not 'huor'; \
did you mean 'hour'?
    """

    scope: str = "kernel"
    since: str = "day"
    model: str = ""
    status: str = ""
    tag: str = ""

    def having(self, name: str, value: object) -> Filters:
        """Return these filters with one of them changed.

        Raises
        ------
        LLMError
            Category ``bad_request``: there is no such filter, or no such value.
        """
        names = [field.name for field in fields(self)]
        if name not in names:
            raise _wrong("The dashboard's filters are", names, name)
        text = "" if value is None else str(value).strip()
        if len(text) > _LONGEST:
            raise LLMError(
                f"The dashboard's {name} has {len(text):,} characters, and {_LONGEST:,} are the most.",
                category="bad_request",
            )
        allowed = {"scope": list(SCOPES), "since": list(SPANS), "status": ["", *STATUSES]}.get(name)
        if allowed is not None and text not in allowed:
            raise _wrong(f"The dashboard's {name} is one of", [choice for choice in allowed if choice], text)
        if name == "tag" and text and not text.partition("=")[1]:
            raise LLMError(f"A tag is written key=value, not {text!r}.", category="bad_request")
        changed: dict[str, Any] = {name: text}
        return replace(self, **changed)

    def query(self) -> Query:
        """Return the calls that meet them, as a question to the ledger."""
        from ipyllm.ledger.query import Query

        key, _, value = self.tag.partition("=")
        return Query(
            kernel_ids=kernel_filter("current" if self.scope == "kernel" else None),
            since=parse_time("since", SPANS[self.since]),
            models=as_tuple("model", self.model or None),
            statuses=as_tuple("status", self.status or None),
            tags={key.strip(): value.strip()} if self.tag else {},
        )


def _wrong(what: str, allowed: list[str], given: str) -> LLMError:
    given = given if len(given) <= _REPEATED else f"{given[:_REPEATED]}…"
    near = difflib.get_close_matches(given, allowed, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return LLMError(f"{what} {', '.join(allowed)}, not {given!r}{hint}", category="bad_request")
