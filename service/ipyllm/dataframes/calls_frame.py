"""The DataFrame that ``usage()`` returns: one of pandas, displayed safely because it holds untrusted text.

This module imports pandas: import it late.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from ipyllm.text.terminal import strip_control_sequences

__all__ = ["CallsFrame"]


class CallsFrame(pd.DataFrame):
    """Rows of the ledger; frames derived from it (selections, sums) have the same class.

    Pages do not typeset answers as mathematics, and terminals do not get the control sequences in them.
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
