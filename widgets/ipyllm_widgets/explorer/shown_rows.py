"""The rows that an explorer shows: the first ones of many, which are read at once, and all of them."""

from __future__ import annotations

from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import bad_request
from ipyllm_widgets.explorer.table_payload import LOOKED_AT, input_columns, search_text, table_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.experiment.answer_matrix import AnswerMatrix, MatrixRow
    from ipyllm.experiment.results import Results
    from ipyllm.experiment.row_judgements import RowJudgements

__all__ = ["ShownRows", "all_rows", "first_rows"]

_AT_ONCE: Final = 2_000  # calls that are read before a person notices
_FIRST_ROWS: Final = LOOKED_AT  # more than are in sight, and enough to know the columns of the input


class ShownRows:
    """The rows of a matrix, up to a maximum, with people's votes and notes.

    Attributes
    ----------
    n_rows : int
        Number of rows to show; more than there are in ``rows`` if only the first ones were read.
    """

    def __init__(
        self,
        matrix: AnswerMatrix,
        judged: RowJudgements,
        n_rows: int,
        *,
        n_left_out: int,
        all_prompts: Sequence[str] = (),
    ) -> None:
        self.matrix = matrix
        self.judged = judged
        self.rows: Sequence[MatrixRow] = matrix.rows[:n_rows]
        self.n_rows = n_rows
        self.columns = input_columns(self.rows)
        self._n_left_out = n_left_out
        self._all_prompts = all_prompts

    @property
    def is_whole(self) -> bool:
        """Whether these are all the rows to show."""
        return len(self.rows) == self.n_rows

    def payload(self) -> dict[str, Any]:
        """Return the table for the page."""
        table = table_payload(self.matrix, self.rows, self._all_prompts) | {"leftOut": self._n_left_out}
        return table if self.is_whole else table | {"expected": self.n_rows}

    def judgement(self, index: int) -> dict[str, str]:
        """Return the vote and the note on a row, empty where there is none."""
        row = self.rows[index]
        return {"vote": self.judged.vote_key_on(row), "note": self.judged.note_on(row)}

    def judgements(self) -> dict[str, dict[str, str]]:
        """Return the votes and notes on all rows that have one, by their index."""
        indices = () if self.judged.are_none else range(len(self.rows))
        return {str(index): judged for index in indices if any((judged := self.judgement(index)).values())}

    def search(self, text: str) -> list[int]:
        """Return the indices of the rows that have all words of a text."""
        words = text.casefold().split()
        return [index for index, each in enumerate(self._searchable) if all(word in each for word in words)]

    @cached_property
    def _searchable(self) -> list[str]:
        return [search_text(row) for row in self.rows]


def all_rows(results: Results, most_rows: int, judged: RowJudgements | None = None) -> ShownRows:
    """Return the rows of an experiment, with votes and notes that were read already or are read now.

    Raises ``bad_request`` if nothing has been asked.
    """
    matrix = results.matrix()
    if not any(cell for row in matrix.rows for cell in row.cells):
        raise bad_request("There are no answers to explore yet: run the experiment first.")
    n_rows = min(len(matrix.rows), most_rows)
    judged = results.judgements(matrix) if judged is None else judged
    return ShownRows(matrix, judged, n_rows, n_left_out=len(matrix.rows) - n_rows)


def first_rows(results: Results, most_rows: int) -> ShownRows | None:
    """Return the first rows of an experiment of many calls, if all their calls have ended and are scored."""
    grid = results.grid
    n_all = len(grid.prompts) * grid.repeats
    n_rows = min(n_all, most_rows)
    if len(grid) <= _AT_ONCE or n_rows <= _FIRST_ROWS:
        return None
    matrix = results.first_rows(ceil(_FIRST_ROWS / grid.repeats))
    if matrix is None:
        return None
    prompts = [prompt.text for prompt in grid.prompts[: ceil(n_rows / grid.repeats)]]
    return ShownRows(matrix, results.judgements(matrix), n_rows, n_left_out=n_all - n_rows, all_prompts=prompts)
