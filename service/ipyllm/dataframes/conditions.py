"""Under which conditions calls were made, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipyllm.process_identity import host_name
from ipyllm.text.format import join_names

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CONDITIONS", "TIMES_LEFT_OUT", "in_words"]

CONDITIONS: Final = ("concurrency", "executor", "machine")
"""Columns of the ledger with what changes times and is no part of a model: see ``docs/ledger.md``."""

TIMES_LEFT_OUT: Final = (
    "Times that were measured under other conditions than now are left out; to measure them anew, give another name."
)

_UNKNOWN: Final = "at an unknown concurrency"
_MAX_NAMES: Final = 3


def in_words(calls: pd.DataFrame) -> str:
    """Return how many calls were made under which conditions; without numbers, if there is one set of conditions.

    Other machines than this one are named.

    Examples
    --------
    >>> import pandas as pd
    >>> calls = pd.DataFrame({"concurrency": [32, 32, 8], "executor": [None, None, "4 × Pool"], "machine": None})
    >>> in_words(calls)
    '2 at concurrency 32 and 1 at concurrency 8 in 4 × Pool'
    >>> in_words(calls[:2])
    'at concurrency 32'
    """
    groups = calls.groupby(list(CONDITIONS), dropna=False, sort=False).size().sort_values(ascending=False)
    phrases = [(_phrase(*conditions), n) for conditions, n in zip(groups.index.tolist(), groups, strict=True)]
    if len(phrases) == 1:
        return phrases[0][0]
    return join_names([f"{n} {phrase}" for phrase, n in phrases], limit=_MAX_NAMES)


def _phrase(concurrency: Any, executor: Any, machine: Any) -> str:
    import pandas as pd

    at = f"at concurrency {int(concurrency)}" if not pd.isna(concurrency) else _UNKNOWN
    by = f" in {executor}" if isinstance(executor, str) else ""
    return f"{at}{by}" + (f" on {machine}" if isinstance(machine, str) and machine != host_name() else "")
