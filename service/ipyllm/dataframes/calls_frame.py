"""The DataFrame that ``usage()`` returns: pandas' own, shown with care, because it holds what strangers wrote.

Imports pandas: load it late.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from ipyllm.text.terminal import plain

__all__ = ["CallsFrame"]


class CallsFrame(pd.DataFrame):
    """Rows of the ledger. What is derived from it (selections, sums) is of its kind too.

    A model's answer in a cell must not be typeset as mathematics by the page, nor obeyed by a terminal.
    """

    @property
    def _constructor(self) -> Any:
        return CallsFrame

    def _repr_html_(self) -> str | None:
        with pd.option_context("display.html.use_mathjax", False):
            html: str | None = super()._repr_html_()  # type: ignore[misc]
        return html

    def __repr__(self) -> str:
        return plain(super().__repr__())
