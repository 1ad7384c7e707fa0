"""A DataFrame whose cells are shown in full, where pandas cuts them at 50 characters. Importing it imports pandas."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from ipyllm.dataframes.calls_frame import CallsFrame
from ipyllm.text.terminal import strip_control_sequences

__all__ = ["UntruncatedFrame"]

_OPTIONS = ("display.max_colwidth", 400, "display.html.use_mathjax", False)
_HEADING = re.compile(r"<th>([^<]*)</th>")
_STYLE = "<style>.ipyllm-table.ipyllm-table :is(th,td){text-align:start;vertical-align:top}</style>"


class UntruncatedFrame(CallsFrame):
    """A table of a few rows, shown without its index; missing values are shown as empty cells."""

    @property
    def _constructor(self) -> Any:
        return UntruncatedFrame

    def _filled(self) -> pd.DataFrame:
        frame = pd.DataFrame(self)
        return frame.astype(object).where(frame.notna(), "")

    def _repr_html_(self) -> str | None:
        with pd.option_context(*_OPTIONS):
            table = self._filled().to_html(index=False, border=0)
        # Long names may be broken: a table with sentences in it is wide anyway.
        table = _HEADING.sub(lambda found: found[0].replace("_", "_<wbr>"), table)
        return f'{_STYLE}<div class="ipyllm-table">{table}</div>'

    def __repr__(self) -> str:
        with pd.option_context(*_OPTIONS):
            return strip_control_sequences(self._filled().to_string(index=False, justify="left"))
