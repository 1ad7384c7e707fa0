"""The DataFrame that ``summarise()`` returns: shown with what its sums do not include. Importing it imports pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.dataframes.calls_frame import CallsFrame
from ipyllm.totals import CostTotal

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SummaryFrame", "format_costs"]

_DECIMALS = 4  # a tenth of a millisecond


class SummaryFrame(CallsFrame):
    """A summary with numbers in its columns, shown rounded, and with sums that are lower bounds marked as such.

    A frame that pandas derives from it (a selection, a sum) is shown as it is.
    """

    def compact(self) -> pd.DataFrame:
        """Return the table as it is shown: ``cost_usd`` says of how many calls the cost is unknown."""
        shown = CallsFrame(self.round(_DECIMALS).astype({"cost_usd": object}))
        shown["cost_usd"] = format_costs(self)
        for name in ("input_tokens", "output_tokens"):
            is_bound = (self["uncounted"] > 0) & self[name].notna()
            shown[name] = self[name].astype(object).where(~is_bound, "≥ " + self[name].astype(str))
        return shown.drop(columns="cost_unknown")

    def __repr__(self) -> str:
        return repr(self.compact())

    def _repr_html_(self) -> str | None:
        return CallsFrame(self.compact())._repr_html_()


def format_costs(table: pd.DataFrame) -> list[str]:
    """Return the sums in ``cost_usd`` as text, with the unknown calls of ``cost_unknown`` among all ``n``."""
    rows = zip(table["cost_usd"].fillna(0.0), table["n"], table["cost_unknown"], strict=True)
    totals = (CostTotal(float(usd), int(n), int(n_unknown)) for usd, n, n_unknown in rows)
    return [total.cell for total in totals]
