"""``ResultsExplorer``: all answers of an experiment, prompts × arms, made by ``results.explore()``."""

from __future__ import annotations

import threading
from array import array
from typing import TYPE_CHECKING, Any, ClassVar, Final

import traitlets

from ipyllm.errors import LLMError, bad_request
from ipyllm.fork_safety import renewed_in_child
from ipyllm.runtime.short_pauses import without_collections
from ipyllm.text.format import shorten
from ipyllm.text.redact import redact
from ipyllm.validate import validate_int
from ipyllm_widgets import modules
from ipyllm_widgets.explorer.page import static_html
from ipyllm_widgets.explorer.shown_rows import ShownRows, all_rows, first_rows
from ipyllm_widgets.explorer.table_payload import row_payload
from ipyllm_widgets.live_widget import CommandWidget
from ipyllm_widgets.packed import packed
from ipyllm_widgets.static_output import StaticContent, StaticOutput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from ipyllm.experiment.answer_matrix import MatrixRow
    from ipyllm.experiment.results import Results

__all__ = ["ResultsExplorer"]

_ERROR_CHARS: Final = 1_000
_INTERRUPTED: Final = "Interrupted. Run the cell again."
_INTERRUPTED_LATER: Final = (
    "Interrupted: only the first rows are shown. Choose “Read them” in the explorer, or run the cell again."
)


class _Interrupted(KeyboardInterrupt):
    """The user interrupted the reading of rows; the cell shows one sentence."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class ResultsExplorer(CommandWidget):
    """The answers of an experiment, prompts × arms, with scores, reasons, filters, votes and notes.

    The page has a table of all rows, with the beginnings of their texts, and filters and sorts it by itself. It asks
    for full texts and for a search. The first rows of many are shown while the others are read.

    Parameters
    ----------
    results : Results
        Of an experiment. They are read once, at the latest when they are shown; :meth:`refresh` reads them again.
    most_rows : int
        Maximum number of rows.

    Raises
    ------
    LLMError
        Category ``bad_request``: nothing was asked yet, or ``most_rows`` is not a number above 0.
    """

    _esm = modules.script("explorer/explorer.js")
    _css = modules.styles("widget.css", "explorer/explorer.css")
    _commands: ClassVar[Mapping[str, Mapping[str, type]]] = {
        "read": {"again?": bool},
        "row": {"row": int},
        "search": {"text": str},
        "select": {},
        "vote": {"row": int, "outcome": str},
        "note": {"row": int, "text": str},
    }

    table = traitlets.Bytes(read_only=True).tag(sync=True)
    judgements = traitlets.Dict(read_only=True).tag(sync=True)

    @without_collections()
    def __init__(self, results: Results, *, most_rows: int = 20_000) -> None:
        self._most_rows = validate_int("most_rows", most_rows, 1)
        self._results = results
        self._reading = renewed_in_child(threading.RLock())
        self._unread = ""  # why the rows after the first ones could not be read
        try:
            self._shown: ShownRows = first_rows(results, self._most_rows) or all_rows(results, self._most_rows)
        except KeyboardInterrupt:
            raise _Interrupted(_INTERRUPTED) from None
        self._selected: Sequence[int] | None = None  # as the page has not said
        self._static_output = StaticOutput(self._static_content)
        super().__init__()

    @traitlets.default("table")
    def _default_table(self) -> bytes:
        return packed(self._shown.payload())

    def __repr__(self) -> str:
        matrix = self._shown.matrix
        return f"ResultsExplorer({matrix.experiment!r}: {self._shown.n_rows} rows × {len(matrix.arms)} arms)"

    def refresh(self) -> None:
        """Read the results again, such as those of a run that goes on, and show all rows."""
        with self._reading:
            self._read()
        self._static_output.update()

    @property
    def selection(self) -> pd.DataFrame:
        """The calls of the rows that were marked, or without marks of those that are shown, in the order shown.

        The columns of ``results.calls``, then ``vote`` (the preferred arm, ``"tie"`` or ``"both_bad"``) and ``note``,
        empty where there is none. Without a page, all rows.
        """
        shown = self._all_rows()
        chosen = shown.rows if self._selected is None else [shown.rows[index] for index in self._selected]
        calls, rows = shown.matrix.calls_of(chosen)
        judged = shown.judged
        return calls.assign(vote=list(map(judged.vote_on, rows)), note=list(map(judged.note_on, rows)))

    def get_state(self, key: str | Iterable[str] | None = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return the synced state with the current votes and notes."""
        state: dict[str, Any] = super().get_state(key, drop_defaults)
        if "judgements" in state or (drop_defaults and key is None):
            state["judgements"] = self._shown.judgements()
        return state

    def close(self) -> None:
        """Remove the widget; the notebook keeps the view of its first rows, with the current votes and notes."""
        if getattr(self, "_static_output", None) is not None and self._static_output.is_shown and not self._unread:
            self._static_output.update()
        super().close()

    def _ipython_display_(self) -> None:
        self._static_output.show_below(self)

    def _static_content(self) -> StaticContent:
        shown = self._all_rows()
        return StaticContent(static_html(shown.matrix, shown.judged), repr(self))

    def _all_rows(self) -> ShownRows:
        """Return all rows, which are read and shown now if there are only the first ones."""
        with self._reading:
            if not self._shown.is_whole:
                self._read()
            return self._shown

    @without_collections()
    def _read(self) -> None:
        """Read all rows, and show them; a page that waits for them is told why they cannot be read."""
        try:
            judged = None if self._shown.is_whole else self._shown.judged  # read a moment ago
            self._shown = all_rows(self._results, self._most_rows, judged)
        except BaseException as exc:
            self._unread = _reason(exc)
            self.channel.send("unread", reason=self._unread)
            if isinstance(exc, KeyboardInterrupt):
                raise _Interrupted(_INTERRUPTED_LATER) from None
            raise
        self._unread = ""
        self._selected = None
        self.send_state("judgements")  # first: the page draws them with the table
        self.set_trait("table", self._default_table())

    def _row(self, index: int) -> MatrixRow:
        rows = self._all_rows().rows
        if not 0 <= index < len(rows):
            raise bad_request("The page asked for a row that is not there: reload the page.")
        return rows[index]

    # ---- commands of the page ------------------------------------------------------------------------

    def _do_read(self, _content: dict[str, Any], _buffers: Sequence[Any], *, again: bool = False) -> None:
        """Read the rows that a page misses.

        If that was interrupted or has failed, the page is told, unless somebody there wants it to be tried ``again``.
        """
        with self._reading:
            if self._unread and not again:
                self.channel.send("unread", reason=self._unread)
            else:
                self._all_rows()

    def _do_row(self, content: dict[str, Any], _buffers: Sequence[Any], *, row: int) -> None:
        chosen = self._row(row)
        details = row_payload(self._shown.matrix, chosen, self._shown.columns)
        self.channel.send("row", nonce=content.get("nonce"), row=row, details=details)

    def _do_search(self, content: dict[str, Any], _buffers: Sequence[Any], *, text: str) -> None:
        found = self._all_rows().search(text)
        self.channel.send("found", nonce=content.get("nonce"), buffers=[array("I", found).tobytes()])

    def _do_select(self, _content: dict[str, Any], buffers: Sequence[Any]) -> None:
        if len(buffers) != 1 or len(buffers[0]) % 4:
            raise bad_request("The page sent a wrong selection: reload the page.")
        indices = array("I", bytes(buffers[0])).tolist()
        for index in indices:
            self._row(index)
        self._selected = indices

    def _do_vote(self, _content: dict[str, Any], _buffers: Sequence[Any], *, row: int, outcome: str) -> None:
        arms = self._shown.matrix.arms
        if outcome.isdecimal():
            outcome = arms[int(outcome)] if int(outcome) < len(arms) else ""
        chosen = self._row(row)
        self._shown.judged.vote(chosen, None if outcome == "none" else outcome)
        self._show_judgement([row])

    def _do_note(self, _content: dict[str, Any], _buffers: Sequence[Any], *, row: int, text: str) -> None:
        chosen = self._row(row)
        self._shown.judged.note(chosen, text)
        rows = self._shown.rows
        self._show_judgement([index for index, each in enumerate(rows) if each.prompt_id == chosen.prompt_id])

    def _show_judgement(self, indices: Iterable[int]) -> None:
        self.channel.send("judged", rows={str(index): self._shown.judgement(index) for index in indices})


def _reason(exc: BaseException) -> str:
    """Return in a sentence why rows could not be read."""
    if isinstance(exc, LLMError):
        return shorten(str(exc), _ERROR_CHARS)
    if isinstance(exc, KeyboardInterrupt):
        return "the cell was interrupted."
    return shorten(redact(f"{type(exc).__name__}: {exc}"), _ERROR_CHARS)
