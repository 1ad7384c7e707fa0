"""What part of the dashboard's calls is listed, in which order: validates what was clicked or typed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import bad_request
from ipyllm.text.suggest import suggest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NEWEST_CALLS", "PAGE", "SORTS", "CallList"]

PAGE: Final = 50
"""Calls of a page."""

SORTS: Final = {
    "when": "started_at",
    "model": "model",
    "status": "status",
    "first": "",
    "total": "total_s",
    "tokens": "output_tokens",
    "cost": "cost_usd",
}
"""Columns of the ledger by the name of the order; ``first`` is the time to the first token or the first text."""

_MAX_SEARCH: Final = 200  # characters


@dataclass(frozen=True, slots=True)
class CallList:
    """Order, page and search of the listed calls.

    Attributes
    ----------
    sort : str
        A name of :data:`SORTS`.
    descending : bool
        Whether the largest, or latest, come first. Calls without a value come last in any case.
    page : int
        Number of the page, from 1.
    search : str
        What the prompt or the answer contains; empty for all calls.

    Examples
    --------
    >>> CallList(page=3).replace(search="bread")
    CallList(sort='when', descending=True, page=1, search='bread')
    >>> CallList().replace(sort="costs")
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: Calls cannot be sorted by 'costs'. Did you mean 'cost'?
    """

    sort: str = "when"
    descending: bool = True
    page: int = 1
    search: str = ""

    def replace(self, **changes: Any) -> CallList:
        """Return this list with other values; another order or search begins with its first page.

        Raises
        ------
        LLMError
            Category ``bad_request``: a value does not exist.
        """
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                raise bad_request(f"The list of calls has no {name!r}. {suggest(name, names)}")
        new = dataclasses.replace(self, **({"page": 1} | changes))
        if new.sort not in SORTS:
            raise bad_request(
                f"Calls cannot be sorted by {str(new.sort)[:_MAX_SEARCH]!r}. {suggest(str(new.sort), list(SORTS))}"
            )
        if not isinstance(new.descending, bool):
            raise bad_request("descending must be True or False.")
        if isinstance(new.page, bool) or not isinstance(new.page, int) or new.page < 1:
            raise bad_request(f"page must be a whole number from 1, not {new.page!r}.")
        if not isinstance(new.search, str) or len(new.search) > _MAX_SEARCH:
            raise bad_request(f"search must be a text of at most {_MAX_SEARCH} characters.")
        return dataclasses.replace(new, search=new.search.strip())

    def arranged(self, calls: pd.DataFrame, first: str) -> pd.DataFrame:
        """Return ``calls``, which come earliest first, in this order; ``first`` is the column of first times."""
        column = SORTS[self.sort] or first
        if column == "started_at":
            return calls[::-1] if self.descending else calls
        values = calls[column].astype("object") if calls[column].dtype.name == "category" else calls[column]
        latest_first = values[::-1]
        return calls.loc[
            latest_first.sort_values(ascending=not self.descending, kind="stable", na_position="last").index
        ]

    def n_pages(self, n: int) -> int:
        """Return the number of pages for ``n`` calls, at least 1."""
        return max(1, -(-n // PAGE))

    @property
    def words(self) -> str:
        """The order and the search in words; empty for the newest calls."""
        if self == NEWEST_CALLS:
            return ""
        order = (
            ""
            if self.sort == "when" and self.descending
            else f"by {self.sort}{', descending' if self.descending else ''}"
        )
        search = f"with “{self.search}”" if self.search else ""
        return ", ".join(filter(None, (search, order, f"page {self.page}" if self.page > 1 else "")))


NEWEST_CALLS: Final = CallList()
"""What is listed first."""
