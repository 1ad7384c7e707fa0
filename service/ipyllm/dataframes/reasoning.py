"""Finds the calls in which a model reasoned, and the first time by which calls can be compared.

Hidden reasoning counts in the time to first token; reasoning that is streamed does not, since its first chunk is the
first token. The time to first visible text has the same meaning for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.latency_filter import known_column

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["first_time", "reasoned"]


def reasoned(frame: pd.DataFrame) -> pd.Series[bool]:
    """Return for each call whether its model reasoned before it answered, hidden or streamed.

    Examples
    --------
    >>> import pandas as pd
    >>> reasoned(pd.DataFrame({"output_tokens": [550, 50], "visible_tokens": [50, 50]})).tolist()
    [True, False]
    """
    hidden = known_column(frame, "visible_tokens") < known_column(frame, "output_tokens")
    found = hidden | (known_column(frame, "reasoning_tokens") > 0) | known_column(frame, "thinking_s").notna()
    if "reasoning" in frame.columns:
        found |= frame["reasoning"].notna() & (frame["reasoning"] != "")
    return found


def first_time(reasoned_calls: pd.Series[bool], ttfo_s: pd.Series[Any]) -> str:
    """Return the metric by which first times are compared.

    Parameters
    ----------
    reasoned_calls : Series of bool
        Whether a model reasoned, by call.
    ttfo_s : Series
        The times to first visible text.

    Returns
    -------
    str
        ``"ttfo_s"`` where a model reasoned in any of the calls; else ``"ttft_s"``.

    Examples
    --------
    >>> import pandas as pd
    >>> calls = pd.DataFrame({"reasoning_tokens": [0, 500], "ttfo_s": [0.2, 1.2]})
    >>> first_time(reasoned(calls), calls["ttfo_s"]), first_time(reasoned(calls[:1]), calls["ttfo_s"][:1])
    ('ttfo_s', 'ttft_s')
    """
    return "ttfo_s" if reasoned_calls.any() and ttfo_s.notna().any() else "ttft_s"
