"""A DataFrame whose sentences are shown whole: pandas cuts cells at 50 characters, and the advice stands at the end.

Imports pandas: load it late.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from ipyllm.calls_frame import CallsFrame

__all__ = ["WideFrame"]

_OPTIONS = ("display.max_colwidth", 400, "display.max_rows", 500)


class WideFrame(CallsFrame):
    """For tables of a few rows; what is selected from it is of its kind too."""

    @property
    def _constructor(self) -> Any:
        return WideFrame

    def _repr_html_(self) -> str | None:
        with pd.option_context(*_OPTIONS):
            return super()._repr_html_()

    def __repr__(self) -> str:
        with pd.option_context(*_OPTIONS):
            return super().__repr__()
