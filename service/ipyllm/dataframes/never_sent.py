"""Calls that ended before anything was sent: a missing key, an unknown model, a budget that does not allow it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["never_sent"]


def never_sent(calls: pd.DataFrame) -> pd.Series[bool]:
    """Return which calls failed before their first attempt: no server saw them, and none of them failed at one.

    Parameters
    ----------
    calls : DataFrame
        Rows of ``usage()``. In one without the column ``attempts``, no call counts as never sent.

    Examples
    --------
    >>> import pandas as pd
    >>> never_sent(pd.DataFrame({"status": ["error", "error", "cancelled"], "attempts": [0, 3, 0]})).tolist()
    [True, False, False]
    """
    import pandas as pd

    attempts = calls.get("attempts", pd.Series(pd.NA, index=calls.index, dtype="Int64"))
    return (calls["status"] == "error") & (attempts == 0).fillna(value=False).astype(bool)
