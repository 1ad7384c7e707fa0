"""What a person thinks of the rows of an experiment: votes for an arm, and notes. Both are stored in the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ipyllm.comparison.arms import canonical_json
from ipyllm.comparison.votes import UNDECIDED, cast_vote, votes
from ipyllm.errors import bad_request
from ipyllm.text.suggest import suggest

if TYPE_CHECKING:
    import pandas as pd

    from ipyllm.experiment.answer_matrix import AnswerMatrix, MatrixRow
    from ipyllm.ledger import Ledger

__all__ = ["NOTE_CHARS", "RowJudgements", "read_notes"]

NOTE_CHARS: Final = 10_000
"""Longest note."""


class RowJudgements:
    """Votes and notes on the rows of a matrix: read once, then kept up to date with what is written here.

    A vote belongs to a prompt and repeat, a note to a prompt. A later one, of any kernel, replaces an earlier one.
    """

    def __init__(self, matrix: AnswerMatrix, ledger: Ledger) -> None:
        self._matrix = matrix
        self._ledger = ledger
        labels = dict(zip(matrix.full_labels, matrix.arms, strict=True))
        cast = votes(kernel=None, ledger=ledger)
        self._votes: dict[str, str] = {
            comparison: labels.get(outcome, outcome)
            for comparison, outcome in zip(cast["comparison"], cast["outcome"], strict=True)
        }
        found = read_notes(matrix.experiment, ledger)
        self._notes: dict[str, str] = dict(zip(found["prompt_id"], found["note"], strict=True))

    @property
    def are_none(self) -> bool:
        """Whether there is neither a vote nor a note on anything."""
        return not self._votes and not self._notes

    def vote_on(self, row: MatrixRow) -> str:
        """Return the label of the preferred arm, ``"tie"``, ``"both_bad"``, or an empty string without a vote."""
        return self._votes.get(self._comparison(row), "")

    def vote_key_on(self, row: MatrixRow) -> str:
        """Return the vote as the page has it: the number of the arm, from 0, or the outcome."""
        vote = self.vote_on(row)
        return str(self._matrix.arms.index(vote)) if vote in self._matrix.arms else vote

    def note_on(self, row: MatrixRow) -> str:
        """Return the note, empty without one."""
        return self._notes.get(row.prompt_id, "")

    def vote(self, row: MatrixRow, outcome: str | None) -> None:
        """Store that an arm is preferred, by its label, or ``"tie"`` or ``"both_bad"``; None withdraws the vote.

        Raises
        ------
        LLMError
            ``bad_request``: there is no such arm, it has no answer, or fewer than two arms have one.
        """
        full = dict(zip(self._matrix.arms, self._matrix.full_labels, strict=True))
        if outcome is not None and outcome not in {*full, *UNDECIDED}:
            raise bad_request(f"There is no arm {outcome!r}. {suggest(outcome, [*full, *UNDECIDED])}")
        arms = {
            label: cell.call_id
            for label, cell in zip(self._matrix.full_labels, row.cells, strict=True)
            if cell is not None and cell.status == "ok"
        }
        if outcome is None:
            if not self.vote_on(row):
                return
        elif len(arms) < 2:  # noqa: PLR2004
            raise bad_request("A vote needs two complete answers.")
        elif outcome in full and full[outcome] not in arms:
            raise bad_request(f"{outcome} has no complete answer to this prompt: vote for another arm.")
        cast_vote(
            arms,
            None if outcome is None else full.get(outcome, outcome),
            prompt=row.prompt,
            origin="widget",
            comparison=self._comparison(row),
            tags={"experiment": self._matrix.experiment},
            ledger=self._ledger,
        )
        self._votes[self._comparison(row)] = outcome or ""

    def note(self, row: MatrixRow, text: str) -> None:
        """Store a note on the prompt of a row, on all its repeats; an empty one removes it.

        Raises
        ------
        LLMError
            ``bad_request``: it is too long.
        """
        from ipyllm.ledger.columns import NOTES
        from ipyllm.ledger.ids import kernel_id

        text = text.strip()
        if len(text) > NOTE_CHARS:
            raise bad_request(f"A note has at most {NOTE_CHARS:,} characters; this one has {len(text):,}.")
        experiment = self._matrix.experiment
        self._ledger.put(
            {
                "note_id": canonical_json([experiment, row.prompt_id]),
                "written_at": datetime.now(UTC),
                "kernel_id": kernel_id(),
                "origin": "widget",
                "experiment": experiment,
                "prompt_id": row.prompt_id,
                "note": text,
            },
            NOTES,
        )
        self._notes[row.prompt_id] = text

    def _comparison(self, row: MatrixRow) -> str:
        return canonical_json([self._matrix.experiment, row.prompt_id, row.repeat])


def read_notes(experiment: str, ledger: Ledger) -> pd.DataFrame:
    """Return the notes on rows of an experiment, earliest first: ``prompt_id``, ``note``, ``written_at`` (UTC)."""
    from ipyllm.dataframes.filters import read_frame
    from ipyllm.ledger.query import NoteQuery

    found = read_frame(NoteQuery(experiments=(experiment,)), ledger)
    return found.loc[found["note"] != "", ["prompt_id", "note", "written_at"]].reset_index(drop=True)
