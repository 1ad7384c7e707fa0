"""Calls as a pandas DataFrame, and their summary by model, tag or any column."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, get_args

from ipyllm.dataframes.call_totals import counted, is_uncounted
from ipyllm.dataframes.filters import as_tuple, kernel_filter, read_frame, shown_value
from ipyllm.dataframes.latency_filter import as_bool, as_float, counts_in_latency, left_out_late, mostly_late
from ipyllm.dataframes.never_sent import never_sent
from ipyllm.ledger.columns import COLUMNS, FINAL, TEXT
from ipyllm.ledger.query import Query
from ipyllm.plain_values import plain_number
from ipyllm.request import Origin
from ipyllm.text.format import join_names
from ipyllm.text.suggest import suggest
from ipyllm.text.times import parse_time
from ipyllm.validate import tags_as_text

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    import pandas as pd

    from ipyllm.ledger import Ledger

__all__ = ["calls_query", "summarise", "usage"]

_QUANTILES: Final = {
    "ttft_p50_s": ("ttft_s", 0.5),
    "ttft_p95_s": ("ttft_s", 0.95),
    "ttfo_p50_s": ("ttfo_s", 0.5),
    "ttfo_p95_s": ("ttfo_s", 0.95),
    "thinking_p50_s": ("thinking_s", 0.5),
    "total_p50_s": ("total_s", 0.5),
    "output_tps_p50": ("output_tps", 0.5),
}
"""Columns of :func:`summarise`: a latency of the ledger, and the quantile of it."""

_SUMMED: Final = frozenset(
    {
        *("params", "tags", "status", "attempts", "refused", "finish_reason", "usage_source", "cost_usd"),
        *("input_tokens", "output_tokens", "visible_tokens", "output_tokens_estimated"),
        *(metric for metric, _ in _QUANTILES.values()),
    }
)
"""Columns that :func:`summarise` reads: a frame without them is summarised as if nothing in them were known."""


def usage(
    kernel: str | None = "current",
    *,
    since: datetime | timedelta | str | None = None,
    until: datetime | timedelta | str | None = None,
    model: str | Sequence[str] | None = None,
    status: str | Sequence[str] | None = None,
    origin: str | Sequence[str] | None = None,
    experiment: str | Sequence[str] | None = None,
    tags: Mapping[str, object] | None = None,
    text: bool = True,
    columns: Sequence[str] | None = None,
    limit: int | None = None,
    ledger: Ledger | None = None,
) -> pd.DataFrame:
    """Return one row for each exchange with a model, oldest first.

    Parameters
    ----------
    kernel : str or None
        ``"current"`` for the calls of this kernel, None for those of all kernels, or a kernel's id.
    since, until : datetime, timedelta or str, optional
        Calls that started at ``since`` or later, before ``until``: a date (local time where it has no zone), also as
        ISO text, how long ago: a timedelta, or ``"2h"``, ``"30m"``, ``"7d"``; or ``"today"``, ``"yesterday"``.
    model, status, origin, experiment : str or sequence of str, optional
        Only calls with this value, or one of these values.
    tags : mapping, optional
        Only calls with all of these tags, with these values.
    text : bool
        False leaves out the columns ``prompt``, ``response`` and ``reasoning``, most of the data in a large ledger.
    columns : sequence of str, optional
        Only these columns, in this order. Nothing else is read, which takes a fraction of the time and memory.
    limit : int, optional
        Only this number of the newest calls.
    ledger : Ledger, optional
        Default: the current one.

    Returns
    -------
    DataFrame
        The columns of ``docs/ledger.md``, also when there are no rows. Seconds and dollars are ``float64``, counts
        ``Int64``, ``cold``, ``cache_hit`` and ``warmup`` ``boolean``, ``started_at`` in UTC; ``params`` and ``tags``
        hold dicts. Unknown values are null.

    Raises
    ------
    ValueError
        ``since`` or ``until`` is not a date, there is no such status, origin or column, a filter is not text,
        ``limit`` is below 1, or a column of text is asked for with ``text=False``.
    """
    query = calls_query(
        kernel,
        since=since,
        until=until,
        model=model,
        status=status,
        origin=origin,
        experiment=experiment,
        tags=tags,
        text=text,
        limit=limit,
    )
    if columns is None:
        return read_frame(query, ledger)
    names = as_tuple("column", columns, accepted=COLUMNS)
    if not names:
        raise ValueError("columns=[] would leave nothing: leave it out for all columns.")
    if not text and (texts := [name for name in names if name in TEXT]):
        raise ValueError(f"text=False leaves out {join_names(texts)}, which columns= asks for: give one of them.")
    return read_frame(replace(query, only=frozenset(names)), ledger)[list(dict.fromkeys(names))]


def calls_query(
    kernel: str | None = "current",
    *,
    since: datetime | timedelta | str | None = None,
    until: datetime | timedelta | str | None = None,
    model: str | Sequence[str] | None = None,
    status: str | Sequence[str] | None = None,
    origin: str | Sequence[str] | None = None,
    experiment: str | Sequence[str] | None = None,
    tags: Mapping[str, object] | None = None,
    text: bool = True,
    limit: int | None = None,
) -> Query:
    """Return the query of :func:`usage`; it raises as that does."""
    limit = plain_number(limit)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(
            f"limit must be a whole number, 1 or more, not {shown_value(limit)}. Leave it out for all calls."
        )
    return Query(
        kernel_ids=kernel_filter(kernel),
        since=parse_time("since", since),
        until=parse_time("until", until),
        models=as_tuple("model", model),
        statuses=as_tuple("status", status, accepted={*FINAL, "running"}),
        origins=as_tuple("origin", origin, accepted=get_args(Origin)),
        experiments=as_tuple("experiment", experiment),
        tags=tags_as_text(tags),
        text=text,
        limit=limit,
    )


def summarise(frame: pd.DataFrame, by: str | Sequence[str] = "model") -> pd.DataFrame:
    """Summarise the calls of ``frame``, one row per group. Those that failed before anything was sent are left out.

    Parameters
    ----------
    frame : DataFrame
        A result of :func:`usage`.
    by : str or sequence of str
        Columns to group by, or keys within them: ``"params.temperature"``, ``"tags.arm"``. Calls without the tag are
        left out; calls without the parameter are a group.

    Returns
    -------
    DataFrame
        ``n`` calls; ``errors`` (status ``error`` or ``truncated``); ``refused`` by the model; ``cut``, the answers
        cut off at ``max_tokens``, empty ones too (``finish_reason`` ``length``); ``left_out``, the calls that
        :func:`~ipyllm.dataframes.latency_filter.counts_in_latency` leaves out of times to first token; ``ttft_p50_s``,
        ``ttft_p95_s``; ``ttfo_p50_s``, ``ttfo_p95_s``, to the first visible text: compare models by these where one of
        them reasons; ``thinking_p50_s``, ``total_p50_s`` and ``output_tps_p50`` of calls with status ``ok``; all of
        them null where no call counts, or most were measured late; ``input_tokens``, ``output_tokens`` and of these
        the ``visible_tokens``, as servers count them, and ``uncounted``, the calls without such a count, whose tokens
        are not in these sums (``estimated`` of them have an estimate); ``cost_usd``, null when no cost is known, and
        ``cost_unknown``, the calls of unknown cost, which are not in that sum. It is shown rounded, and with a ``≥``
        before sums that do not include all calls.

    Raises
    ------
    ValueError
        There is no column or key ``by``, and the message suggests one; or ``frame`` is no table.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"model": ["a", "a"], "status": ["ok", "error"], "ttft_s": [0.25, None]})
    >>> summarise(frame)[["n", "errors", "ttft_p50_s"]].to_dict("index")
    {'a': {'n': 2, 'errors': 1, 'ttft_p50_s': 0.25}}
    """
    import pandas as pd

    from ipyllm.dataframes.summary_frame import SummaryFrame

    names = as_tuple("by", by)
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"summarise() takes a table that usage() returned, not a {type(frame).__name__}.")  # noqa: TRY004 - one kind of error to catch
    if not names:
        raise ValueError("summarise() needs a column to group by, for example by='model'.")
    missing = ({*_SUMMED, *names} & COLUMNS.keys()) - {*frame.columns}
    frame = frame.assign(**{name: float("nan") for name in COLUMNS if name in missing})
    unsent = never_sent(frame)
    frame = frame[~unsent] if unsent.any() else frame  # a copy of a million rows is large
    keys = [_key(frame, name) for name in names]
    # A tag marks the calls to compare; those without it are not a group.
    tagged = [key.notna() for name, key in zip(names, keys, strict=True) if name.startswith("tags.")]
    frame = frame[pd.concat(tagged, axis=1).all(axis=1)] if tagged else frame
    keys = [key.loc[frame.index] for key in keys]

    groups = frame.groupby(keys if len(keys) > 1 else keys[0], dropna=False, observed=True)
    n = groups.size()
    # One column after the other, by the number of its group: all of them beside the frame would double its memory.
    group: Any = pd.Categorical.from_codes(groups.ngroup().to_numpy(), pd.RangeIndex(len(n)))
    del groups

    def total(column: pd.Series[Any], min_count: int = 0) -> Any:
        return column.groupby(group, observed=False).sum(min_count=min_count).to_numpy()

    def tokens(name: str) -> Any:
        return pd.array(total(counted(frame, name), min_count=1), dtype="Int64")

    table = pd.DataFrame(
        {
            "n": n.to_numpy(),
            "errors": total(frame["status"].isin(["error", "truncated"])),
            "refused": total(as_bool(frame["refused"])),
            "cut": total(frame["finish_reason"] == "length"),
            "left_out": total(~counts_in_latency(frame, "ttft_s")),
            **_quantiles(frame, group),
            **{name: tokens(name) for name in ("input_tokens", "output_tokens", "visible_tokens")},
            "uncounted": total(is_uncounted(frame)),
            "estimated": total((frame["usage_source"] == "estimated") | frame["output_tokens_estimated"].notna()),
            "cost_usd": total(as_float(frame["cost_usd"]), min_count=1),
            "cost_unknown": total(frame["cost_usd"].isna()),
        },
        index=n.index,
    )
    return SummaryFrame(table)


def _quantiles(frame: pd.DataFrame, group: Any) -> dict[str, Any]:
    """Return the columns of :data:`_QUANTILES` by group, null where most of its calls were measured late."""
    found: dict[str, Any] = {}
    for metric in dict.fromkeys(metric for metric, _ in _QUANTILES.values()):
        values = as_float(frame[metric]).where(counts_in_latency(frame, metric)).groupby(group, observed=False)
        late = left_out_late(frame, metric).groupby(group, observed=False).sum()
        unknown = mostly_late(late, values.count())
        found |= {
            name: values.quantile(q).mask(unknown).to_numpy()
            for name, (measured, q) in _QUANTILES.items()
            if measured == metric
        }
    return {name: found[name] for name in _QUANTILES}


def _key(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    """Return the values to group by: a column, or a key within ``params`` or ``tags``."""
    import pandas as pd

    column, _, key = name.partition(".")
    if name in frame.columns and name not in {"params", "tags"}:
        return frame[name]
    nested = {
        f"{outer}.{inner}"
        for outer in ("params", "tags")
        for cell in frame[outer]
        if isinstance(cell, Mapping)
        for inner in cell
    }
    if name in nested:
        values = [_groupable(cell.get(key)) if isinstance(cell, Mapping) else None for cell in frame[column]]
        return pd.Series(values, index=frame.index, name=name, dtype="object").infer_objects()
    examples = f"For example: {', '.join(['model', 'status', *sorted(nested)])}."
    hint = suggest(name, [*frame.columns, *sorted(nested)], otherwise=examples)
    raise ValueError(f"These calls have no {name!r} to group by. {hint}")


def _groupable(value: object) -> object:
    """Return ``value``, or the text of a list or dict, which pandas cannot group by."""
    return json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else value
