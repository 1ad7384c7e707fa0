"""``LatencyExplorer``: calls as time lines under one another."""

from __future__ import annotations

from dataclasses import asdict
from numbers import Real
from typing import TYPE_CHECKING, Any, Final, get_args

from ipyllm.dataframes.call_phases import PHASES, PhaseName, call_phases
from ipyllm.errors import bad_request
from ipyllm.response import ChatResponse
from ipyllm.text.format import count, is_missing, number, seconds, shorten
from ipyllm.text.suggest import suggest
from ipyllm.validate import validate_int
from ipyllm_widgets import modules
from ipyllm_widgets.teaching.bar_picture import BarPicture, BarRow, Piece, figures_table
from ipyllm_widgets.teaching.teaching_widget import TeachingWidget

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from ipyllm.dataframes.call_phases import Phase

__all__ = ["LatencyExplorer"]

_TONES: Final[dict[PhaseName, str]] = {
    "queue": "light",
    "retries": "cross",
    "send": "dots",
    "wait": "gone",
    "thinking": "stripes",
    "answer": "solid",
    "end": "faint",
}
_ORDERS: Final = {"asked": "as asked", "model": "by model", "first": "first token first", "total": "fastest first"}
_COLUMNS: Final = (
    *("model", "status", "error_category", "prompt", "queue_s", "connect_s", "send_delay_s", "ttft_s", "ttfo_s"),
    *("thinking_s", "e2e_s", "stream_end_s", "streamed", "attempts", "retry_wait_s", "total_s", "output_tps"),
    *("output_tokens", "reasoning_tokens", "cold", "cache_hit"),
)
_NAME_CHARS: Final = 60
_MOST: Final = 40
_MAX_SECONDS: Final = 86_400.0


class LatencyExplorer(TeachingWidget):
    """Calls as time lines: queue, sending, first token, thinking, tokens; several models under one another.

    A slider moves through the time of the calls and says how far each was; *Play* does so as fast as it was. Nothing
    is asked of a model.

    Parameters
    ----------
    calls : DataFrame or iterable of ChatResponse, optional
        Rows of ``usage()`` or ``results.calls``, or responses. By default, the newest calls of this kernel.
    most : int
        The newest of them, at most 40.
    label : str, optional
        A column of the table whose values stand in place of the models, for several calls of one model.
    order : str
        ``"asked"`` (the order of the rows), ``"model"``, ``"first"`` (token) or ``"total"`` (time).
    time : float, optional
        Seconds since each call was asked for; by default, the end of the longest.

    Attributes
    ----------
    phases : DataFrame
        The phases of each call, in seconds.

    Raises
    ------
    LLMError
        ``bad_request``: no calls, or a table without their figures or the column of labels.

    Examples
    --------
    >>> import pandas as pd
    >>> from ipyllm import LatencyExplorer
    >>> calls = pd.DataFrame({"model": ["lab/a", "lab/b"], "ttft_s": [0.2, 0.5], "e2e_s": [2.0, 1.1]})
    >>> explorer = LatencyExplorer(calls, order="total")
    >>> explorer.phases[["model", "wait", "answer"]].round(1).values.tolist()
    [['lab/b', 0.5, 0.6], ['lab/a', 0.2, 1.8]]
    """

    _esm = modules.script("teaching/latency_explorer.js")
    _css = modules.styles("widget.css", "teaching/teaching.css")

    def __init__(
        self,
        calls: pd.DataFrame | Iterable[ChatResponse] | None = None,
        *,
        most: int = 12,
        label: str | None = None,
        order: str = "asked",
        time: float | None = None,
    ) -> None:
        if (most := validate_int("most", most, 1)) > _MOST:
            raise bad_request(f"most must be at most {_MOST}, not {most}.")
        if label is not None and not isinstance(label, str):
            raise bad_request(f"label must be the name of a column, not {str(label)[:40]!r}.")
        if label in (*get_args(PhaseName), "total"):
            raise bad_request(f"{label!r} is the name of a column of phases: give the column of labels another.")
        self._label = label or "model"
        missing = "unknown model" if self._label == "model" else "none"
        self._calls = [_Call(row, missing) for row in _rows(calls, most, self._label)]
        self._longest = max(call.total_s for call in self._calls)
        super().__init__({"order": order, "time": self._longest if time is None else time})

    def __repr__(self) -> str:
        return f"LatencyExplorer({count(len(self._calls), 'call')})"

    @property
    def phases(self) -> pd.DataFrame:
        """A row for each call, in the current order: ``model`` or the label, phases in seconds (0 for none), ``total``.

        The phases are ``queue`` (our own limits, or loading the model), ``retries``, ``send``, ``wait`` (for the first
        token), ``thinking``, ``answer`` and ``end``.
        """
        import pandas as pd

        names = get_args(PhaseName)
        rows = [
            {self._label: call.label, **dict.fromkeys(names, 0.0), **{each.name: each.length_s for each in call.phases}}
            for call in self._ordered()
        ]
        table = pd.DataFrame(rows, columns=[self._label, *names])
        return table.assign(total=table[list(names)].sum(axis=1))

    def _ordered(self) -> list[_Call]:
        order = self._settings["order"]
        if order == "model":
            return sorted(self._calls, key=lambda call: call.place)
        if order == "first":
            return sorted(self._calls, key=lambda call: call.first_s)
        return sorted(self._calls, key=lambda call: call.total_s) if order == "total" else self._calls

    def _payload(self) -> dict[str, Any]:
        places = sorted(call.place for call in self._calls)
        return {
            "calls": [call.payload() | {"rank": places.index(call.place)} for call in self._calls],
            "phases": {name: {"words": words, "tone": _TONES[name]} for name, words in PHASES.items()},
            "orders": _ORDERS | {"model": f"by {self._label}"},
            "label": self._label[:_NAME_CHARS],
            "longest": self._longest,
        }

    def _checked(self, settings: dict[str, Any]) -> dict[str, Any]:
        order, time = settings["order"], settings["time"]
        if order not in _ORDERS:
            raise bad_request(f"There is no order {str(order)[:40]!r}. {suggest(order, _ORDERS)}")
        if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time <= _MAX_SECONDS:
            raise bad_request(f"time must be a number of seconds, 0 or more, not {time!r}.")
        return {"order": order, "time": min(float(time), self._longest)}

    def _picture(self) -> BarPicture:
        time, scale = self._settings["time"], 1 / self._longest
        rows = tuple(
            BarRow(
                call.label,
                [Piece(_TONES[each.name], each.start_s * scale, each.length_s * scale) for each in call.phases],
                call.beside(),
            )
            for call in self._ordered()
        )
        used = {each.name for call in self._calls for each in call.phases}
        legend = [(_TONES[name], words) for name, words in PHASES.items() if name in used]
        edge = None if time >= self._longest else time * scale
        where = "" if edge is None else f", a line at {seconds(time)}"
        return BarPicture(f"{count(len(rows), 'call')} in {seconds(self._longest)}{where}", rows, legend, edge)

    def _table(self) -> str:
        heads = (self._label, "first token", "thinking", "total", "tokens", "tokens/s", "remarks")
        return figures_table(heads, (call.cells() for call in self._ordered()))


class _Call:
    """A row, with what is shown of it."""

    def __init__(self, row: Mapping[str, Any], missing: str) -> None:
        self._row: Mapping[str, Any] = row
        value: Any = row.get("label")
        self.label = shorten("" if is_missing(value) else str(value), _NAME_CHARS) or missing
        is_number = isinstance(value, Real) and not is_missing(value)
        self.place: tuple[int, Any, str] = (0, value, "") if is_number else (1, 0, self.label)  # to sort by labels
        self.phases: tuple[Phase, ...] = call_phases(row)
        self.total_s: float = sum(each.length_s for each in self.phases)
        ends = [each.start_s + each.length_s for each in self.phases if each.name == "wait"]
        hidden = [each.start_s + each.length_s for each in self.phases if each.name == "thinking"]
        self.first_s = min(ends or hidden or [self.total_s])

    def payload(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "phases": [[each.name, round(each.start_s, 6), round(each.length_s, 6)] for each in self.phases],
            "cells": self.cells(),
            "total": self.total_s,
            "first": self.first_s,
            "tokens": None if is_missing(self._row.get("output_tokens")) else int(self._row["output_tokens"]),
            "failed": self._failed,
            "prompt": shorten(str(self._row.get("prompt") or ""), _NAME_CHARS),
        }

    def beside(self) -> str:
        return "failed" if self._failed else f"{self._total()} {self._speed()}".strip()

    def cells(self) -> list[str]:
        row = self._row
        tokens = number(row.get("output_tokens"))
        if not is_missing(reasoning := row.get("reasoning_tokens")) and reasoning:
            tokens = f"{tokens} ({number(reasoning)} thinking)"
        first, thinking = seconds(row.get("ttft_s")), seconds(row.get("thinking_s"))
        return [
            self.label,
            first,
            thinking,
            self._total(),
            tokens,
            number(row.get("output_tps")),
            self._remarks(),
        ]

    def _total(self) -> str:
        told = self._row.get("total_s")
        return seconds(self.total_s if is_missing(told) else told)

    def _speed(self) -> str:
        speed = self._row.get("output_tps")
        return "" if is_missing(speed) else f"· {number(speed)} tok/s"

    def _remarks(self) -> str:
        row = self._row
        remarks = [self._failed] if self._failed else []
        remarks += [words for name, words in _REMARKS.items() if _is_true(row.get(name))]
        if not is_missing(streamed := row.get("streamed")) and not streamed:
            remarks.append("came at once, not streamed")
        if not is_missing(row.get("attempts")) and row["attempts"] > 1:
            remarks.append(f"{row['attempts']:.0f} attempts")
        return ", ".join(remarks) or "–"

    @property
    def _failed(self) -> str:
        category = self._row.get("error_category")
        return "" if is_missing(category) or not category else f"failed: {str(category).replace('_', ' ')}"


_REMARKS: Final = {"cold": "the model was loaded first", "cache_hit": "from ipyllm's cache"}


def _is_true(value: Any) -> bool:
    return not is_missing(value) and bool(value)


def _rows(calls: Any, most: int, label: str) -> list[dict[str, Any]]:
    if calls is None:
        from ipyllm.dataframes.usage import usage

        calls = usage(columns=tuple(dict.fromkeys((*_COLUMNS, label))), limit=most)
    if isinstance(calls, ChatResponse):
        calls = [calls]
    if not hasattr(calls, "columns"):
        if label != "model":
            raise bad_request("label is a column of a table of calls; responses have none.")
        return _timed([_row_of(response) for response in list(calls)[-most:]])
    if not {"ttft_s", "total_s", "e2e_s"} & set(calls.columns):
        raise bad_request("LatencyExplorer needs rows of usage() or results.calls: these have no ttft_s or total_s.")
    if label not in {"model", *calls.columns}:
        raise bad_request(f"There is no column {str(label)[:40]!r}. {suggest(label, calls.columns)}")
    names = [name for name in _COLUMNS if name in calls.columns]
    shown = calls[names].assign(label=calls[label]) if label in calls.columns else calls[names]
    return _timed(shown.tail(most).to_dict("records"))


def _row_of(response: Any) -> dict[str, Any]:
    if not isinstance(response, ChatResponse):
        raise bad_request(f"LatencyExplorer needs rows of usage(), or responses, not {type(response).__name__}.")
    return {
        **asdict(response.timing),
        "label": response.model,
        "output_tokens": response.usage.output_tokens,
        "reasoning_tokens": response.usage.reasoning_tokens,
        "cold": response.cold,
        "cache_hit": response.cache_hit,
    }


def _timed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = [row for row in rows if call_phases(row)]
    if not timed:
        raise bad_request("There are no calls with a time yet: ask something first.")
    return timed
