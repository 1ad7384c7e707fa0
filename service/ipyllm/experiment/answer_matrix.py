"""The answers of an experiment, prompts × arms: what each arm said, how it was scored, and where arms differ.

The explorer shows it. Its filters are defined here, by flags of a cell and by :attr:`MatrixRow.differs`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ipyllm.comparison.arms import canonical_json
from ipyllm.dataframes.convert import plain_list
from ipyllm.ledger.columns import FINAL
from ipyllm.runtime.short_pauses import without_collections
from ipyllm.scorers.reading import comparable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd

    from ipyllm.experiment.grid import Grid
    from ipyllm.scorers.scorer import Scorer

__all__ = [
    "COLUMNS",
    "CUT_OFF",
    "FAILED",
    "REGRESSED",
    "UNSURE",
    "AnswerMatrix",
    "Cell",
    "Facts",
    "MatrixRow",
    "ScoreColumn",
    "answer_matrix",
]

_REL_TOL: Final = 1e-9  # of two scores that are the same
_KNOWN: Final = 256  # rows whose scores were compared
_TEXTS: Final = ("call_id", "status", "prompt", "response", "error_message")
_FAILURES: Final = FINAL - {"ok"}


FAILED: Final = 1
"""Flag of a cell: its call ended without a complete answer; the status is not ``ok``."""

CUT_OFF: Final = 2
"""Flag of a cell: its answer ended at ``max_tokens`` (``finish_reason`` is ``length``)."""

UNSURE: Final = 4
"""Flag of a cell: a judge gave no verdict on it, or a grade in the middle third of its scale."""

REGRESSED: Final = 8
"""Flag of a cell: a score is worse than the baseline's in the same row, by the direction of the scorer."""


@dataclass(frozen=True, slots=True)
class ScoreColumn:
    """A scorer as the matrix has it: its name, its direction, and the scale of a judge."""

    name: str
    direction: bool | None
    is_judge: bool
    scale: tuple[float, float] | None


class Facts(NamedTuple):
    """What an answer took: seconds, tokens and US dollars; None where unknown."""

    total_s: float | None
    output_tokens: int | None
    cost_usd: float | None


_FACTS: Final = Facts._fields

COLUMNS: Final = frozenset(
    {*_TEXTS, *_FACTS, "started_at", "finish_reason", "tags", "warmup", "concurrency", "executor", "machine"}
)
"""Columns of the ledger that a matrix shows, or that make its calls, their scores and their conditions known."""


class Cell(NamedTuple):
    """What one arm made of a prompt; ``scores`` and ``reasons`` are in the order of the scorers."""

    call_id: str
    status: str
    prompt: str
    response: str
    parsed: Any  # the value in the answer, with a schema
    error: str
    scores: tuple[float | None, ...]
    reasons: tuple[str, ...]  # the scorer's reason, or why it gave no score; else empty
    flags: int
    facts: Facts


class MatrixRow(NamedTuple):
    """One prompt and repeat: a cell for each arm, None where the arm was not asked."""

    prompt_id: str
    repeat: int
    prompt: str
    columns: Mapping[str, Any]  # of the input
    cells: tuple[Cell | None, ...]
    differs: bool  # whether two arms differ, see ``AnswerMatrix.compared_by``


@dataclass(frozen=True, eq=False)
class AnswerMatrix:
    """Answers of an experiment: a row for each prompt and repeat, a cell for each arm.

    Attributes
    ----------
    experiment : str
        Its name.
    arms : tuple of str
        Labels; the first arm is the baseline.
    full_labels : tuple of str
        The labels under which votes are stored.
    scorers : tuple of ScoreColumn
    compared_by : {"scores", "parsed values", "answers"}
        By what arms differ. Scores, where there are scorers: two arms differ if any score of theirs does, or if only
        one of them has it. Else the values that answers with a schema have. Else the texts, without regard to case,
        spaces, kinds of quotes and hyphens, and a stop at the end. An answer also differs from a failure, but two
        failures do not differ.
    rows : tuple of MatrixRow
        In the order of the input.
    """

    experiment: str
    arms: tuple[str, ...]
    full_labels: tuple[str, ...]
    scorers: tuple[ScoreColumn, ...]
    compared_by: str
    rows: tuple[MatrixRow, ...]
    _read_calls: Callable[[], pd.DataFrame]

    @property
    def has_ended(self) -> bool:
        """Whether each arm was asked about each prompt, and all calls have ended."""
        return all(cell is not None and cell.status in FINAL for row in self.rows for cell in row.cells)

    @cached_property
    def calls(self) -> pd.DataFrame:
        """``results.calls``, without warm-ups, as they are when they are read here first."""
        calls = self._read_calls()
        return calls[~calls["warmup"]].reset_index(drop=True)

    def calls_of(self, rows: Sequence[MatrixRow]) -> tuple[pd.DataFrame, list[MatrixRow]]:
        """Return the calls of these rows, arm by arm, and for each call its row. What is not asked has no call."""
        keys = zip(*(plain_list(self.calls[name]) for name in ("prompt_id", "repeat", "arm")), strict=True)
        place_of = {key: place for place, key in enumerate(keys)}
        found = [
            (place, row)
            for row in rows
            for arm in self.arms
            if (place := place_of.get((row.prompt_id, row.repeat, arm))) is not None
        ]
        return self.calls.iloc[[place for place, _ in found]].reset_index(drop=True), [row for _, row in found]

    def __repr__(self) -> str:
        return f"AnswerMatrix({self.experiment!r}: {len(self.rows)} rows × {len(self.arms)} arms)"


@without_collections()
def answer_matrix(
    name: str,
    grid: Grid,
    calls: pd.DataFrame,
    scorers: Sequence[Scorer],
    read_calls: Callable[[], pd.DataFrame],
) -> AnswerMatrix:
    """Return the matrix of scored calls, without warm-ups, which have at least :data:`COLUMNS`.

    ``read_calls`` reads all of ``results.calls``, once somebody wants them.
    """
    calls = calls[~calls["warmup"]]
    directions = calls.attrs.get("directions", {})
    columns = tuple(
        ScoreColumn(each.name, directions.get(each.columns[0]), "cost_usd" in each.gives, each.scale)
        for each in scorers
    )
    by_trial = {
        (prompt_id, repeat, arm): index
        for index, (prompt_id, repeat, arm) in enumerate(
            zip(*(plain_list(calls[name]) for name in ("prompt_id", "repeat", "arm")), strict=True)
        )
    }
    labels = [arm.label for arm in grid.arms]
    cells = list(_cells(calls, scorers, columns))
    compared_by = "scores" if columns else "parsed values" if "parsed" in calls.columns else "answers"
    better = tuple(column.direction for column in columns)
    differ, regressed = lru_cache(_KNOWN)(_differ), lru_cache(_KNOWN)(_regressed)  # there are few different scores
    rows = []
    for prompt in grid.prompts:
        for repeat in range(grid.repeats):
            found = [by_trial.get((prompt.prompt_id, repeat, label)) for label in labels]
            of_row = tuple(None if index is None else cells[index] for index in found)
            values = [_compared(cell, compared_by) for cell in of_row if cell is not None and cell.status in FINAL]
            text = next((cell.prompt for cell in of_row if cell is not None), prompt.text)
            worse = regressed(tuple([None if cell is None else cell.scores for cell in of_row]), better)
            if True in worse:
                of_row = tuple(map(_flagged, of_row, worse))
            rows.append(MatrixRow(prompt.prompt_id, repeat, text, prompt.data, of_row, differ(tuple(values))))
    full_labels = tuple(arm.full_label for arm in grid.arms)
    return AnswerMatrix(name, tuple(labels), full_labels, columns, compared_by, tuple(rows), read_calls)


def _cells(calls: pd.DataFrame, scorers: Sequence[Scorer], columns: Sequence[ScoreColumn]) -> Iterator[Cell]:
    n = len(calls)
    scores, reasons, is_unsure = [], [], [False] * n
    for scorer, column in zip(scorers, columns, strict=True):
        score, error, reason, _ = scorer.columns
        own_scores, own_errors = _values(calls, score), _values(calls, error)
        scores.append(own_scores)
        reasons.append([one or other or "" for one, other in zip(_values(calls, reason), own_errors, strict=True)])
        if column.is_judge:
            unsure = map(_is_unsure, [column.scale] * n, own_scores, own_errors)
            is_unsure = list(map(max, is_unsure, unsure))
    texts = ([value or "" for value in _values(calls, name)] for name in _TEXTS)
    all_scores = zip(*scores, strict=True) if scores else [()] * n
    all_reasons = zip(*reasons, strict=True) if reasons else [()] * n
    facts = zip(*(_values(calls, name) for name in _FACTS), strict=True)
    rows = zip(
        *texts, _values(calls, "parsed"), all_scores, all_reasons, facts, _values(calls, "finish_reason"), is_unsure,
        strict=True,
    )  # fmt: skip
    for call_id, status, prompt, response, error, parsed, of_cell, why, measured, finish_reason, unsure in rows:
        flags = (
            (FAILED if status in _FAILURES else 0)
            | (CUT_OFF if finish_reason == "length" else 0)
            | (UNSURE if unsure else 0)
        )
        yield Cell(call_id, status, prompt, response, parsed, error, of_cell, why, flags, Facts(*measured))


def _values(calls: pd.DataFrame, name: str) -> list[Any]:
    """Return a column as Python values with None for nulls; all None without the column."""
    return plain_list(calls[name]) if name in calls.columns else [None] * len(calls)


def _is_unsure(scale: tuple[float, float] | None, score: float | None, error: str | None) -> bool:
    if score is None:
        return error is not None
    if scale is None:
        return False
    worst, best = scale
    return 1 / 3 < (score - worst) / (best - worst) < 2 / 3


def _compared(cell: Cell, compared_by: str) -> tuple[Any, ...]:
    """Return what is compared of a cell; a failure is unlike any answer, and like any other failure."""
    if cell.status != "ok":
        return ("failed",)
    if compared_by == "scores":
        return ("ok", *cell.scores)
    if compared_by == "parsed values":
        return ("ok", canonical_json(cell.parsed))
    return ("ok", " ".join(comparable(cell.response, ignore_case=True).split()).rstrip(" .!"))


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return one == other or (
        len(one) == len(other)
        and all(
            a == b or (isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=_REL_TOL))
            for a, b in zip(one, other, strict=True)
        )
    )


def _differ(compared: tuple[tuple[Any, ...], ...]) -> bool:
    return any(not _same(compared[0], other) for other in compared[1:])


def _regressed(
    scores: tuple[tuple[float | None, ...] | None, ...], directions: tuple[bool | None, ...]
) -> tuple[bool, ...]:
    """Return which arms have a worse score than the first; their ``scores`` in a row, None where they have no call."""
    baseline = scores[0]
    judged = [
        (nth, better, before)
        for nth, (better, before) in enumerate(zip(directions, baseline or (), strict=False))
        if better is not None and before is not None
    ]
    return tuple(
        of_arm is not None and any(_is_worse(better, of_arm[nth], before) for nth, better, before in judged)
        for of_arm in scores
    )


def _flagged(cell: Cell | None, is_worse: bool) -> Cell | None:
    return cell._replace(flags=cell.flags | REGRESSED) if cell is not None and is_worse else cell


def _is_worse(higher_is_better: bool, score: float | None, baseline: float) -> bool:
    if score is None or score == baseline:
        return False
    return (score < baseline) is higher_is_better and not math.isclose(score, baseline, rel_tol=_REL_TOL)
