"""``ResultsExplorer``: all answers of an experiment, prompts × arms, made by ``results.explore()``."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets

from ipyllm.errors import bad_request
from ipyllm.runtime.short_pauses import without_collections
from ipyllm.validate import validate_int
from ipyllm_widgets import modules
from ipyllm_widgets.explorer.page import static_html
from ipyllm_widgets.explorer.table_payload import input_columns, row_payload, search_text, table_payload
from ipyllm_widgets.live_widget import CommandWidget
from ipyllm_widgets.packed import packed
from ipyllm_widgets.static_output import StaticContent, StaticOutput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from ipyllm.experiment.answer_matrix import AnswerMatrix, MatrixRow
    from ipyllm.experiment.results import Results
    from ipyllm.experiment.row_judgements import RowJudgements

__all__ = ["ResultsExplorer"]


class ResultsExplorer(CommandWidget):
    """The answers of an experiment, prompts × arms, with scores, reasons, filters, votes and notes.

    The page has a table of all rows, with the beginnings of their texts, and filters and sorts it by itself. It asks
    for full texts and for a search.

    Parameters
    ----------
    results : Results
        Of an experiment. They are read once; :meth:`refresh` reads them again.
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
        self._read()
        self._static_output = StaticOutput(self._static_content)
        super().__init__()

    @traitlets.default("table")
    def _default_table(self) -> bytes:
        return packed(table_payload(self._matrix, self._rows))

    def __repr__(self) -> str:
        return f"ResultsExplorer({self._matrix.experiment!r}: {len(self._rows)} rows × {len(self._matrix.arms)} arms)"

    def refresh(self) -> None:
        """Read the results again, such as those of a run that goes on, and show all rows."""
        self._read()
        self.set_trait("table", self._default_table())
        self._static_output.update()

    @property
    def selection(self) -> pd.DataFrame:
        """The calls of the rows that were marked, or without marks of those that are shown, in the order shown.

        The columns of ``results.calls``, then ``vote`` (the preferred arm, ``"tie"`` or ``"both_bad"``) and ``note``,
        empty where there is none. Without a page, all rows.
        """
        calls, rows = self._matrix.calls_of([self._rows[index] for index in self._selected])
        return calls.assign(
            vote=[self._judged.vote_on(row) for row in rows], note=[self._judged.note_on(row) for row in rows]
        )

    def get_state(self, key: str | Iterable[str] | None = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return the synced state with the current votes and notes."""
        state: dict[str, Any] = super().get_state(key, drop_defaults)
        if "judgements" in state or (drop_defaults and key is None):
            state["judgements"] = {
                str(index): judged
                for index, row in enumerate(() if self._judged.are_none else self._rows)
                if any((judged := self._judgement(row)).values())
            }
        return state

    def close(self) -> None:
        """Remove the widget; the notebook keeps the view of its first rows, with the current votes and notes."""
        if getattr(self, "_static_output", None) is not None and self._static_output.is_shown:
            self._static_output.update()
        super().close()

    def _ipython_display_(self) -> None:
        self._static_output.show_below(self)

    def _static_content(self) -> StaticContent:
        return StaticContent(static_html(self._matrix, self._judged), repr(self))

    def _read(self) -> None:
        self._matrix: AnswerMatrix = self._results.matrix()
        self._rows: Sequence[MatrixRow] = self._matrix.rows[: self._most_rows]
        if not any(cell for row in self._matrix.rows for cell in row.cells):
            raise bad_request("There are no answers to explore yet: run the experiment first.")
        self._judged: RowJudgements = self._results.judgements(self._matrix)
        self._selected: Sequence[int] = range(len(self._rows))
        self._columns = input_columns(self._rows)
        self._searchable: list[str] | None = None

    def _judgement(self, row: MatrixRow) -> dict[str, str]:
        return {"vote": self._judged.vote_key_on(row), "note": self._judged.note_on(row)}

    def _row(self, index: int) -> MatrixRow:
        if not 0 <= index < len(self._rows):
            raise bad_request("The page asked for a row that is not there: reload the page.")
        return self._rows[index]

    # ---- commands of the page ------------------------------------------------------------------------

    def _do_row(self, content: dict[str, Any], _buffers: Sequence[Any], *, row: int) -> None:
        details = row_payload(self._matrix, self._row(row), self._columns)
        self.channel.send("row", nonce=content.get("nonce"), row=row, details=details)

    def _do_search(self, content: dict[str, Any], _buffers: Sequence[Any], *, text: str) -> None:
        if self._searchable is None:
            self._searchable = [search_text(row) for row in self._rows]
        words = text.casefold().split()
        found = [index for index, each in enumerate(self._searchable) if all(word in each for word in words)]
        self.channel.send("found", nonce=content.get("nonce"), buffers=[array("I", found).tobytes()])

    def _do_select(self, _content: dict[str, Any], buffers: Sequence[Any]) -> None:
        if len(buffers) != 1 or len(buffers[0]) % 4:
            raise bad_request("The page sent a wrong selection: reload the page.")
        indices = array("I", bytes(buffers[0])).tolist()
        for index in indices:
            self._row(index)
        self._selected = indices

    def _do_vote(self, _content: dict[str, Any], _buffers: Sequence[Any], *, row: int, outcome: str) -> None:
        arms = self._matrix.arms
        if outcome.isdecimal():
            outcome = arms[int(outcome)] if int(outcome) < len(arms) else ""
        self._judged.vote(self._row(row), None if outcome == "none" else outcome)
        self._show_judgement([row])

    def _do_note(self, _content: dict[str, Any], _buffers: Sequence[Any], *, row: int, text: str) -> None:
        chosen = self._row(row)
        self._judged.note(chosen, text)
        self._show_judgement([index for index, each in enumerate(self._rows) if each.prompt_id == chosen.prompt_id])

    def _show_judgement(self, indices: Iterable[int]) -> None:
        self.channel.send("judged", rows={str(index): self._judgement(self._rows[index]) for index in indices})
