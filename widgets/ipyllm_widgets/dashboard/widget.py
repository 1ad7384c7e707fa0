"""The dashboard's widget: what the page asks for, and the thread that keeps it up to date beside a running cell."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from ipyllm.dataframes.filters import read_frame
from ipyllm.errors import LLMError
from ipyllm.text.redact import redact
from ipyllm_widgets import modules
from ipyllm_widgets.base import take_messages_where_they_come
from ipyllm_widgets.dashboard.figures import figures_of
from ipyllm_widgets.dashboard.filters import Filters
from ipyllm_widgets.dashboard.page import Parts, call_page, parts_of
from ipyllm_widgets.dashboard.reader import Reader
from ipyllm_widgets.dashboard.static_snapshot import still_of
from ipyllm_widgets.static_output import KeptOutput

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import pandas as pd

    from ipyllm_widgets.dashboard.figures import Figures

__all__ = ["UsageDashboard"]

_FORGOTTEN_S = 600.0  # a page that was closed without a word; a busy cell may keep its word back for long
_KEPT_EVERY_S = 30.0  # a notebook is a file: what it keeps is written seldom
_NEWS_S = 60.0  # that a sentence stays which the ledger says once
_SHARE = 20  # drawing takes at most one part in so many of a processor
_REST = 3  # and of the time, which a busy machine stretches, and other processes that read for us
_logger = logging.getLogger("ipyllm.widgets")


class UsageDashboard(anywidget.AnyWidget):
    """Latency, tokens, cost and errors by model over time, live from the ledger.

    Parameters
    ----------
    every_s : float
        Seconds between two looks at the ledger; longer by itself where reading it takes long.
    **filters
        ``scope`` ("kernel" or "all"), ``since`` ("15 minutes", "hour", "day", "week", "month", "all"), ``model``,
        ``status``, ``tag`` ("key=value"): what the filter bar shows at first.

    Raises
    ------
    LLMError
        Category ``bad_request``: a filter that does not exist, or a value that it cannot have.

    Examples
    --------
    >>> dashboard = UsageDashboard(since="week")
    >>> dashboard.filters["since"]
    'week'
    >>> dashboard.close()
    """

    _esm = modules.script("dashboard.js")
    _css = modules.styles("dashboard.css")

    filters = traitlets.Dict().tag(sync=True)
    every_s = traitlets.Float(2.0).tag(sync=True)
    bar = traitlets.Unicode().tag(sync=True)
    tiles = traitlets.Unicode().tag(sync=True)
    models = traitlets.Unicode().tag(sync=True)
    charts = traitlets.Unicode().tag(sync=True)
    calls = traitlets.Unicode().tag(sync=True)
    problem = traitlets.Unicode().tag(sync=True)

    def __init__(self, *, every_s: float = 2.0, **filters: str) -> None:
        self._changed = threading.Event()  # before anything can fail: `close` also ends what was never whole
        self._kept = KeptOutput(self._still)
        self._taken: tuple[Figures, Filters] | None = None
        self._ended = False
        if not isinstance(every_s, int | float) or not 0 < every_s <= threading.TIMEOUT_MAX:
            raise LLMError(f"every_s is a number of seconds above 0, not {every_s!r}.", category="bad_request")
        chosen = Filters()
        for name, value in filters.items():
            chosen = chosen.having(name, value)
        super().__init__(filters=asdict(chosen), every_s=float(every_s))
        self._chosen = chosen
        self._drawing = threading.Lock()
        self._reader = Reader()
        self._read_until: dict[str, float] = {}
        self._taken_at = datetime.now().astimezone()
        self._written: tuple[Figures, Filters] | None = None
        self._watching = threading.Lock()
        self._seen_at: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self.on_msg(self._heard)
        take_messages_where_they_come(self.comm)
        self.refresh()

    def __repr__(self) -> str:
        shown = {name: value for name, value in self.filters.items() if value}
        return f"UsageDashboard({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    # ---- for its user --------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Look at the ledger now, and show what has changed."""
        with self._drawing:
            chosen = self._chosen
            taken_at = datetime.now().astimezone()
            try:
                found = self._reader.calls(chosen)
                if found.trouble and self._taken:  # what is shown is more than what is in memory
                    self.problem = f"{found.trouble}; the figures are those of {self._taken_at:%H:%M:%S}."
                    return
                figures = figures_of(found.calls, found.newest)
                parts = parts_of(figures, chosen, self._reader.other_models(chosen))
            except Exception as exc:
                # The traceback belongs in the log; the page says what it is about, and goes on showing what it had.
                _logger.exception("the dashboard could not be drawn")
                self.problem = redact(f"The ledger could not be shown: {type(exc).__name__}: {exc}")
                return
            with self.hold_sync():
                self.problem = f"{found.trouble}." if found.trouble else self._news()
                for field in fields(Parts):
                    setattr(self, field.name, getattr(parts, field.name))
            if (figures, chosen) != self._taken:
                self._taken = (figures, chosen)
            self._taken_at = taken_at
            self._keep(at_once=self._ended)

    def frame(self) -> pd.DataFrame:
        """Return the calls that are shown, one a row."""
        return read_frame(self._chosen.query(), None)

    def choose(self, /, **filters: str) -> None:
        """Change filters, as a click in the bar does.

        Raises
        ------
        LLMError
            Category ``bad_request``, as of the constructor; nothing is changed then.
        """
        self._choose(filters)
        self.refresh()

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write the calls that are shown to a file, ``.csv`` or ``.parquet``, and return where it is.

        Raises
        ------
        LLMError
            The name ends otherwise, or the file cannot be written.
        """
        from ipyllm.dataframes.export import export_usage

        return export_usage(path, self.frame())

    def close(self) -> None:
        """End it, and its thread; a notebook keeps the figures as they are now."""
        is_first, self._ended = not self._ended, True
        self._changed.set()
        if is_first and self._kept.is_shown:
            self.refresh()
        super().close()

    def _ipython_display_(self) -> None:
        with self._drawing:
            self._written = self._taken
            self._kept.show_below(self)

    # ---- what the page asks --------------------------------------------------------------------------

    def _heard(self, _: Any, content: Any, __: Any) -> None:
        """Take a message of the page. Whatever goes wrong is said there: an exception here would show nowhere."""
        try:
            match content:
                case {"type": "here", "view": str(view)}:
                    self._keep_up(view)
                case {"type": "gone", "view": str(view)}:
                    self._forget(view)
                case {"type": "filter", "name": str(name), "value": value}:
                    self._choose({name: value})
                    self._redraw()
                case {"type": "call", "call_id": str(call_id)}:
                    self._show(call_id)
                case {"type": "export", "format": "csv" | "parquet" as kind}:
                    self.send({"type": "file", "name": f"ipyllm-usage.{kind}"}, buffers=[self._bytes(kind)])
                case _:
                    _logger.warning("a message that the dashboard does not know: %.200r", content)
        except Exception as exc:
            if not isinstance(exc, LLMError):
                _logger.exception("the dashboard failed")
            self.send({"type": "said", "text": redact(str(exc) or type(exc).__name__)})
        if isinstance(content, dict) and isinstance(nonce := content.get("nonce"), str):
            self.send({"type": "ack", "nonce": nonce})  # the page waits for it, and says so if it does not come

    def _choose(self, changes: Mapping[str, object]) -> None:
        chosen = self._chosen
        for name, value in changes.items():
            chosen = chosen.having(name, value)
        self._chosen = chosen
        self.filters = asdict(chosen)

    def _redraw(self) -> None:
        """Draw on the thread that keeps up, if there is one: it draws what the last of many clicks led to."""
        with self._watching:
            is_watched = self._thread is not None and self._thread.is_alive()
            self._changed.set()
        if not is_watched:
            self.refresh()

    def _show(self, call_id: str) -> None:
        row = self._reader.whole(call_id)
        if row is None:
            raise LLMError(
                "This call no longer meets the filters, or is no longer in the ledger.", category="not_found"
            )
        self.send({"type": "call", "call_id": call_id, "html": call_page(row)})

    def _bytes(self, kind: str) -> bytes:
        with TemporaryDirectory() as folder:
            return self.export(Path(folder, f"calls.{kind}")).read_bytes()

    def _news(self) -> str:
        """Return what the ledger told, for as long as it takes to read it."""
        now = time.monotonic()
        self._read_until.update(dict.fromkeys(self._reader.told, now + _NEWS_S))
        self._reader.told.clear()
        return " ".join(sentence for sentence, until in self._read_until.items() if now < until)

    # ---- what a notebook keeps -----------------------------------------------------------------------

    def _still(self) -> tuple[str, str]:
        return still_of(*self._taken, self._taken_at) if self._taken else ("", "")

    def _keep(self, *, at_once: bool) -> None:
        """Update what the notebook keeps, if it would say something else; called while ``_drawing`` is held."""
        if self._taken != self._written and self._kept.update(0.0 if at_once else _KEPT_EVERY_S):
            self._written = self._taken

    # ---- keeping up ----------------------------------------------------------------------------------

    def _keep_up(self, view: str) -> None:
        with self._watching:
            now = time.monotonic()
            self._seen_at = {name: at for name, at in self._seen_at.items() if now - at < _FORGOTTEN_S} | {view: now}
            if self._thread is None or not self._thread.is_alive():  # not alive: this is a fork's child
                self._thread = threading.Thread(target=self._watch, name="ipyllm-dashboard", daemon=True)
                self._thread.start()

    def _forget(self, view: str) -> None:
        with self._watching:
            self._seen_at.pop(view, None)
            self._changed.set()

    def _watch(self) -> None:
        """Draw anew, on a thread of our own, so that it goes on while a cell runs; until nobody looks any more."""
        while True:
            began, worked = time.monotonic(), time.thread_time()
            with self._watching:
                if self._ended or all(began - at >= _FORGOTTEN_S for at in self._seen_at.values()):
                    self._thread = None
                    return
            self.refresh()
            took, worked = time.monotonic() - began, time.thread_time() - worked
            self._changed.wait(max(self.every_s, _SHARE * worked, _REST * took))
            self._changed.clear()
