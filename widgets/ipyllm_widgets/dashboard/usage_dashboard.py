"""``UsageDashboard``: the ledger as live tables and charts. Python renders them; the page only shows them."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import nullcontext
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets

from ipyllm.dataframes.filters import read_frame
from ipyllm.errors import LLMError, bad_request
from ipyllm.fork_safety import renewed_in_child
from ipyllm.observability.logs import log_failure
from ipyllm.settings import SettingsError
from ipyllm.text.redact import redact
from ipyllm_widgets import modules
from ipyllm_widgets.dashboard.call_list import CallList
from ipyllm_widgets.dashboard.dashboard_filters import DashboardFilters
from ipyllm_widgets.dashboard.dashboard_html import DashboardHtml, call_html, dashboard_html
from ipyllm_widgets.dashboard.figures import figures_of
from ipyllm_widgets.dashboard.freed_memory import return_freed_memory
from ipyllm_widgets.dashboard.ledger_reader import FEW, LedgerReader
from ipyllm_widgets.dashboard.shared_facts import one_at_a_time
from ipyllm_widgets.dashboard.static_snapshot import static_snapshot
from ipyllm_widgets.live_widget import CommandWidget
from ipyllm_widgets.static_output import StaticContent, StaticOutput

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    import pandas as pd

    from ipyllm_widgets.dashboard.figures import Figures
    from ipyllm_widgets.dashboard.ledger_reader import Reading

__all__ = ["UsageDashboard"]

_VIEW_TIMEOUT_S = 600.0  # for pages that closed without a message; a busy cell may delay messages for long
_LEAST_REST_S = 1.0  # between readings that clicks ask for
_STATIC_INTERVAL_S = 30.0  # between updates of the static output, which is part of the notebook file
_NOTICE_S = 60.0  # for which a notice of the ledger is shown
_CPU_FACTOR = 20  # rendering uses at most 1/20 of one CPU
_TIME_FACTOR = 3  # and 1/3 of the wall-clock time, which a busy machine and our reader processes prolong
_logger = logging.getLogger("ipyllm.widgets")


class UsageDashboard(CommandWidget):
    """Latency, tokens, cost and errors by model over time, live from the ledger.

    Parameters
    ----------
    every_s : float
        Seconds between two readings of the ledger; longer if reading takes long.
    **filters
        Initial filters: ``scope`` ("kernel" or "all"), ``since`` ("15 minutes", "hour", "day", "week", "month",
        "all"), ``model``, ``status`` ("ok", "cut off", "error", "truncated", "not sent", "cancelled", "running",
        "interrupted"), ``tag`` ("key=value").

    Raises
    ------
    LLMError
        Category ``bad_request``: a filter or its value does not exist.

    Examples
    --------
    >>> dashboard = UsageDashboard(since="week")
    >>> dashboard.filters["since"]
    'week'
    >>> dashboard.close()
    """

    _esm = modules.script("dashboard/dashboard.js")
    _css = modules.styles("dashboard/dashboard.css")
    _commands: ClassVar[Mapping[str, Mapping[str, type]]] = {
        "here": {"view": str},
        "gone": {"view": str},
        "filter": {"name": str, "value": object},
        "call": {"call_id": str},
        "export": {"format": str},
        "list": {"sort?": str, "descending?": bool, "page?": int, "search?": str},
    }

    filters = traitlets.Dict().tag(sync=True)
    every_s = traitlets.Float(2.0).tag(sync=True)
    bar = traitlets.Unicode().tag(sync=True)
    tiles = traitlets.Unicode().tag(sync=True)
    models = traitlets.Unicode().tag(sync=True)
    charts = traitlets.Unicode().tag(sync=True)
    calls = traitlets.Unicode().tag(sync=True)
    search = traitlets.Unicode().tag(sync=True)
    problem = traitlets.Unicode().tag(sync=True)

    def __init__(self, *, every_s: float = 2.0, **filters: str) -> None:
        # First, because `close` is also called if the constructor raises.
        self._wake = renewed_in_child(threading.Event())
        self._static_output = StaticOutput(self._static_content)
        self._shown: tuple[Figures, DashboardFilters] | None = None
        self._closed = False
        if not isinstance(every_s, int | float) or not 0 < every_s <= threading.TIMEOUT_MAX:
            raise bad_request(f"every_s must be a number of seconds above 0, not {every_s!r}.")
        active = DashboardFilters()
        for name, value in filters.items():
            active = active.replace(name, value)
        super().__init__(filters=asdict(active), every_s=float(every_s))
        self._active = active
        self._listing = CallList()
        self._refresh_lock = renewed_in_child(threading.Lock())
        self._reader = LedgerReader()
        self._numbers = count()  # of readings
        self._newest = 0  # the newest reading of all calls that is shown
        self._notice_ends: dict[str, float] = {}
        self._read_at = datetime.now().astimezone()
        self._rest_s = _LEAST_REST_S  # between two readings, however often somebody clicks
        self._next_reading = 0.0  # by the monotonic clock, at the earliest, unless somebody asks for it
        self._must_read = False  # by the thread, whether somebody looks or not
        self._part = ""  # what part of the calls is shown, if the others are being read
        self._published: tuple[Figures, DashboardFilters] | None = None
        self._views_lock = renewed_in_child(threading.Lock())
        self._views_seen_at: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self._show_at_once()

    def __repr__(self) -> str:
        shown = {name: value for name, value in self.filters.items() if value}
        return f"UsageDashboard({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def refresh(self) -> None:
        """Read the ledger now, and show what has changed."""
        self._show(self._reader.calls, one_at_a_time)

    def _show_at_once(self) -> None:
        """Show what is there without a wait; the thread then reads the rest."""
        if not self._show(self._reader.at_once):
            with self._views_lock:
                self._must_read = True
                age = datetime.now().astimezone() - self._read_at
                if self._part or age > timedelta(seconds=self._rest_s):
                    self._wake.set()
                self._start_thread()

    def _show(
        self,
        read: Callable[[DashboardFilters, CallList], Reading],
        turn: AbstractContextManager[object] | None = None,
    ) -> bool:
        """Show a reading, and return whether there is no more to be read now.

        Reading takes seconds if there are many calls, and a click does not wait for that: what was read for other
        filters, or before something newer that is shown, is dropped. Figures are computed within ``turn``.
        """
        number = next(self._numbers)
        active, listing = self._active, self._listing
        read_at = datetime.now().astimezone()
        try:
            reading = read(active, listing)
            with turn or nullcontext():
                figures = figures_of(
                    *(reading.calls, reading.listed, reading.listing, reading.n_listed),
                    marks=reading.marks,
                    metric=reading.metric,
                )
                html = dashboard_html(figures, active, reading.models, reading.why_none)
            if turn is not None and reading.n_read > FEW:  # a click does not wait for it
                return_freed_memory()
        except Exception as exc:  # noqa: BLE001 - the page shows the message above the old figures
            log_failure(_logger, "the dashboard could not be rendered", exc)
            foreseen = isinstance(exc, LLMError | SettingsError | OSError)  # whose sentences need no name
            why = str(exc) if foreseen else f"{type(exc).__name__}: {exc}"
            self.problem = redact(f"The ledger could not be shown: {why}")
            return True
        with self._refresh_lock:
            if (active, listing) != (self._active, self._listing) or number < self._newest:
                return True
            if reading.read_error and self._shown:  # the shown figures include more than the calls in memory
                self.problem = f"{reading.read_error}; the figures are those of {self._read_at:%H:%M:%S}."
                return True
            if reading.is_current:
                self._newest = number
            part = f"the newest {reading.n_newest:,} calls" if reading.n_newest else ""
            notices = " ".join(
                filter(None, (f"These are {part}; the others are being read." if part else "", self._notices()))
            )
            with self.hold_sync():
                self.problem = f"{reading.read_error}." if reading.read_error else notices
                for field in fields(DashboardHtml):
                    setattr(self, field.name, getattr(html, field.name))
            was_part = self._part
            if (figures, active) != self._shown or part != was_part:
                self._shown = (figures, active)
            self._read_at, self._part = read_at - timedelta(seconds=reading.age_s), part
            interval_s = 0.0 if self._closed or was_part else _STATIC_INTERVAL_S
            if self._shown != self._published and self._static_output.update(interval_s):
                self._published = self._shown
            return reading.is_current

    def frame(self) -> pd.DataFrame:
        """Return the calls that are shown, one per row."""
        active = self._active
        return active.of_status(read_frame(active.query(), None))

    def choose(self, /, **filters: str) -> None:
        """Change filters, as a click in the filter bar does.

        Raises
        ------
        LLMError
            Category ``bad_request``, as for the constructor; nothing is changed.
        """
        self._set_filters(filters)
        self._show_at_once()

    def list_calls(self, **changes: Any) -> None:
        """Change what part of the calls is listed, as a click on the head of a column does.

        Parameters
        ----------
        **changes
            ``sort`` (``"when"``, ``"model"``, ``"status"``, ``"first"``: the time to the first token, ``"total"``,
            ``"tokens"``, ``"cost"``), ``descending``, ``page`` (from 1), ``search``: a text in prompt or answer.

        Raises
        ------
        LLMError
            Category ``bad_request``: a value does not exist; nothing is changed.
        """
        self._listing = self._listing.replace(**changes)
        self.search = self._listing.search
        self._show_at_once()

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write the calls that are shown to a file, ``.csv`` or ``.parquet``, and return its path.

        Raises
        ------
        LLMError
            The name has another ending, or the file cannot be written.
        """
        from ipyllm.dataframes.export import export_usage

        return export_usage(path, self.frame())

    def close(self) -> None:
        """Remove the widget and end its thread; the notebook keeps the current figures."""
        is_first, self._closed = not self._closed, True
        self._wake.set()
        if is_first and self._static_output.is_shown:
            self.refresh()
        super().close()

    def _ipython_display_(self) -> None:
        with self._refresh_lock:
            self._published = self._shown
            self._static_output.show_below(self)

    def _static_content(self) -> StaticContent:
        return (
            StaticContent(*static_snapshot(*self._shown, self._read_at, self._part)) if self._shown else StaticContent()
        )

    def _set_filters(self, changes: Mapping[str, object]) -> None:
        active = self._active
        for name, value in changes.items():
            active = active.replace(name, value)
        self._active = active
        self.filters = asdict(active)

    def _notices(self) -> str:
        """Return the ledger's notices of the last minute."""
        now = time.monotonic()
        self._notice_ends.update(dict.fromkeys(self._reader.take_notices(), now + _NOTICE_S))
        return " ".join(notice for notice, end in self._notice_ends.items() if now < end)

    # ---- commands of the page ------------------------------------------------------------------------

    def _do_here(self, _content: dict[str, Any], _buffers: Sequence[Any], *, view: str) -> None:
        with self._views_lock:
            now = time.monotonic()
            recent = {name: at for name, at in self._views_seen_at.items() if now - at < _VIEW_TIMEOUT_S}
            self._views_seen_at = recent | {view: now}
            self._start_thread()

    def _start_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():  # not alive: this is a fork's child
            self._thread = threading.Thread(target=self._watch, name="ipyllm-dashboard", daemon=True)
            self._thread.start()

    def _do_gone(self, _content: dict[str, Any], _buffers: Sequence[Any], *, view: str) -> None:
        with self._views_lock:
            self._views_seen_at.pop(view, None)
            self._wake.set()

    def _do_filter(self, _content: dict[str, Any], _buffers: Sequence[Any], *, name: str, value: object) -> None:
        self._set_filters({name: value})
        self._show_at_once()

    def _do_list(self, _content: dict[str, Any], _buffers: Sequence[Any], **changes: Any) -> None:
        self.list_calls(**changes)

    def _do_call(self, _content: dict[str, Any], _buffers: Sequence[Any], *, call_id: str) -> None:
        row = self._reader.call(call_id)
        if row is None:
            raise LLMError(
                "This call no longer matches the filters or was removed from the ledger.", category="not_found"
            )
        self.channel.send("call", call_id=call_id, html=call_html(row))

    def _do_export(self, content: dict[str, Any], _buffers: Sequence[Any], *, format: str) -> None:  # noqa: A002 - the message's field
        if format not in {"csv", "parquet"}:
            raise bad_request("The page sent a wrong format: reload the page.")
        with TemporaryDirectory() as folder:
            data = self.export(Path(folder, f"calls.{format}")).read_bytes()
        self.channel.send("file", nonce=content.get("nonce"), name=f"ipyllm-usage.{format}", buffers=[data])

    def _watch(self) -> None:
        """Refresh until all views are gone; on a thread, because a cell may be running."""
        self._wake.wait(max(0.0, self._next_reading - time.monotonic()))  # after the thread before this one
        while not self._ends():
            with self._views_lock:
                self._must_read = False
                self._wake.clear()
            began, cpu_s = time.monotonic(), time.thread_time()
            self.refresh()
            took_s, cpu_s = time.monotonic() - began, time.thread_time() - cpu_s
            self._rest_s = max(_LEAST_REST_S, _CPU_FACTOR * cpu_s, _TIME_FACTOR * took_s)
            rest_s = max(self.every_s, _CPU_FACTOR * cpu_s, _TIME_FACTOR * took_s)
            self._next_reading = time.monotonic() + rest_s
            if self._ends():
                return
            self._wake.wait(rest_s)

    def _ends(self) -> bool:
        """Return whether nobody needs the thread, which then ends."""
        now = time.monotonic()
        with self._views_lock:
            has_views = any(now - at < _VIEW_TIMEOUT_S for at in self._views_seen_at.values())
            if self._closed or not (has_views or self._must_read):
                self._thread = None
                return True
        return False
