"""A DataFrame whose sentences are shown whole: pandas cuts cells at 50 characters, and the advice stands at the end.

Imports pandas: load it late.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from ipyllm.dataframes.calls_frame import CallsFrame
from ipyllm.text.terminal import plain

__all__ = ["WideFrame"]

_OPTIONS = ("display.max_colwidth", 400, "display.html.use_mathjax", False)
_STYLE = "<style>.ipyllm-table.ipyllm-table :is(th,td){text-align:start;vertical-align:top}</style>"


class WideFrame(CallsFrame):
    """For tables of a few rows; what is selected from it is of its kind too. What is not known is left empty."""

    @property
    def _constructor(self) -> Any:
        return WideFrame

    def _filled(self) -> pd.DataFrame:
        plain_frame = pd.DataFrame(self)
        return plain_frame.astype(object).where(plain_frame.notna(), "")

    def _repr_html_(self) -> str | None:
        with pd.option_context(*_OPTIONS):
            table = self._filled().to_html(index=False, border=0)
        return f'{_STYLE}<div class="ipyllm-table">{table}</div>'

    def __repr__(self) -> str:
        with pd.option_context(*_OPTIONS):
            return plain(self._filled().to_string(index=False, justify="left"))
