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

    Pages do not typeset answers as mathematics, and terminals do not get the control sequences in them. Times are shown
    to the second.
    """

    @property
    def _constructor(self) -> Any:
        return CallsFrame

    def _repr_html_(self) -> str | None:
        with pd.option_context("display.html.use_mathjax", False):
            html: str | None = _to_the_second(self)._repr_html_()
        return html

    def __repr__(self) -> str:
        return strip_control_sequences(repr(_to_the_second(self)))


def _to_the_second(frame: pd.DataFrame) -> Any:
    """Return the frame as one of pandas, its times cut: microseconds make the table wide and tell a reader nothing."""
    shown = pd.DataFrame(frame)
    return shown.assign(**{str(name): shown[name].dt.floor("s") for name in shown.select_dtypes("datetimetz")})
