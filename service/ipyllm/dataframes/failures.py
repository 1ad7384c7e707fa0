"""Why calls failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["root_categories"]


def root_categories(calls: pd.DataFrame) -> pd.Series:
    """Return the error category of each call, or its ``cause`` where that says more: of ``max_retries_exceeded``.

    Parameters
    ----------
    calls : DataFrame
        Rows of ``usage()``. A missing column counts as null.

    Examples
    --------
    >>> import pandas as pd
    >>> calls = pd.DataFrame({"error_category": ["timeout", "max_retries_exceeded"], "cause": [None, "rate_limit"]})
    >>> root_categories(calls).tolist()
    ['timeout', 'rate_limit']
    """
    import pandas as pd

    none = pd.Series(pd.NA, index=calls.index, dtype=object)
    category, cause = calls.get("error_category", none), calls.get("cause", none)
    return cause.where((category == "max_retries_exceeded") & cause.notna(), category)
