"""The DataFrame that ``usage()`` returns: pandas' own, displayed safely because it holds untrusted text.

Imports pandas: load it late.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from ipyllm.text.terminal import strip_control_sequences

__all__ = ["CallsFrame"]


class CallsFrame(pd.DataFrame):
    """Rows of the ledger; frames derived from it (selections, sums) have the same class.

    The page must not typeset a model's answer as mathematics, and a terminal must not obey its control sequences.
    """

    @property
    def _constructor(self) -> Any:
        return CallsFrame

    def _repr_html_(self) -> str | None:
        with pd.option_context("display.html.use_mathjax", False):
            html: str | None = super()._repr_html_()  # type: ignore[misc]
        return html

    def __repr__(self) -> str:
        return strip_control_sequences(super().__repr__())
