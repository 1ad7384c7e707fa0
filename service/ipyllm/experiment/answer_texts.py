"""The texts of answers, for a file of all calls: they are read page by page, so that memory need not hold them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipyllm.dataframes.filters import read_page
from ipyllm.ledger.columns import COLUMNS
from ipyllm.ledger.query import Query

if TYPE_CHECKING:
    import pandas as pd

    from ipyllm.ledger import Ledger

__all__ = ["TEXTS", "WITHOUT_TEXTS", "with_texts"]

TEXTS: Final = {"response": "prompt", "reasoning": None}
"""Columns of texts, each with the column of ``results.calls`` that it follows; None: the last one of the ledger."""

WITHOUT_TEXTS: Final = frozenset(COLUMNS) - TEXTS.keys()
"""All other columns of the ledger."""


def with_texts(calls: pd.DataFrame, *, ledger: Ledger) -> pd.DataFrame:
    """Return some of the calls with the texts of their answers, where ``results.calls`` has them.

    Raises LLMError where the ledger cannot be read.
    """
    query = Query(call_ids=tuple(calls["call_id"]) or ("",), only=frozenset(TEXTS))
    texts = read_page(query, ledger).set_index("call_id")
    calls = calls.copy(deep=False)
    for name, before in TEXTS.items():
        names = list(calls.columns)
        place = names.index("exchanges") if before is None else names.index(before) + 1
        calls.insert(place, name, texts[name].reindex(calls["call_id"]).array)
    return calls
