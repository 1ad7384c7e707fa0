"""What the page gets of an answer matrix: a compact table of all rows, and the full texts of a row on request.

``static/explorer/table.js`` reads the table. All values are plain text; the page sets them as text.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from ipyllm.plain_values import plain_number
from ipyllm.text.format import count, is_missing, money, seconds, shorten
from ipyllm.text.redact import redact
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ipyllm.experiment.answer_matrix import AnswerMatrix, Cell, Facts, MatrixRow

__all__ = ["LOOKED_AT", "excerpt", "input_columns", "row_payload", "search_text", "table_payload"]

_EXCERPT_CHARS: Final = 180  # of an answer or a prompt in the table
_READ_CHARS: Final = 700  # of which an excerpt is made; white space is folded
_VALUE_CHARS: Final = 60  # of a value in a column of the input
_MAX_COLUMNS: Final = 12  # of the input
LOOKED_AT: Final = 50
"""Rows that are looked at, to find out which columns of the input the prompt contains."""

_MAX_EXACT: Final = 2**53  # of whole numbers in JavaScript
_LABEL_CHARS: Final = 20  # mean length up to which values of a column are labels
_SHARED_CHARS: Final = 20  # of a beginning of all prompts that is worth leaving out
_TEXT_CHARS: Final = 200_000  # of an answer in full


def table_payload(matrix: AnswerMatrix, rows: Sequence[MatrixRow], prompts: Sequence[str] = ()) -> dict[str, Any]:
    """Return the table of these rows of the matrix, in columns. ``prompts`` are those of rows that are not among them.

    What all prompts begin with is left out.
    """
    shared = _shared_beginning([*prompts, *(row.prompt for row in rows)])
    return {
        "name": excerpt(matrix.experiment),
        "arms": [excerpt(arm) for arm in matrix.arms],
        "scorers": [{"name": each.name, "direction": each.direction} for each in matrix.scorers],
        "comparedBy": matrix.compared_by,
        "hasJudge": any(scorer.is_judge for scorer in matrix.scorers),
        "leftOut": len(matrix.rows) - len(rows),
        "ids": [excerpt(row.prompt_id) for row in rows],
        "repeats": [row.repeat for row in rows] if any(row.repeat for row in rows) else None,
        "prompts": [("… " if shared else "") + excerpt(row.prompt[shared:]) for row in rows],
        "columns": [
            {"name": excerpt(name), "values": _values([row.columns.get(name) for row in rows])}
            for name in input_columns(rows)[:_MAX_COLUMNS]
        ],
        "differs": [int(row.differs) for row in rows],
        "cells": [_arm([row.cells[index] for row in rows], len(matrix.scorers)) for index in range(len(matrix.arms))],
    }


def _shared_beginning(prompts: Sequence[str]) -> int:
    """Return the length of the whole words with which all prompts begin, as a template makes them; 0 for a few."""
    first, last = min(prompts), max(prompts)
    if first == last:
        return 0
    shared = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    end = max(shared.rfind(" "), shared.rfind("\n")) + 1
    return end if end >= _SHARED_CHARS else 0


def _arm(cells: Sequence[Cell | None], n_scorers: int) -> dict[str, Any]:
    texts = ["" if cell is None else cell.response or cell.error for cell in cells]
    excerpts = {text: excerpt(text) for text in dict.fromkeys(texts)}  # many are the same, as labels are
    return {
        "texts": [excerpts[text] for text in texts],
        "statuses": ["" if cell is None else cell.status for cell in cells],
        "flags": [0 if cell is None else cell.flags for cell in cells],
        "scores": [[None if cell is None else cell.scores[nth] for cell in cells] for nth in range(n_scorers)],
    }


def row_payload(matrix: AnswerMatrix, row: MatrixRow, columns: Sequence[str]) -> dict[str, Any]:
    """Return everything about a row, with these columns of the input."""
    return {
        "prompt": _full(row.prompt),
        "columns": [[excerpt(name), _full(_text(row.columns.get(name)))] for name in columns],
        "cells": [_cell(matrix, row, cell) for cell in row.cells],
    }


def _cell(matrix: AnswerMatrix, row: MatrixRow, cell: Cell | None) -> dict[str, Any] | None:
    if cell is None:
        return None
    explained = [
        {"name": scorer.name, "score": score, "reason": _full(reason)}
        for scorer, score, reason in zip(matrix.scorers, cell.scores, cell.reasons, strict=True)
    ]
    return {
        "text": _full(cell.response),
        "error": _full(cell.error),
        "prompt": _full(cell.prompt) if cell.prompt != row.prompt else "",  # its own, of another template
        "scores": explained,
        "facts": " · ".join(_facts(cell.facts)),
        "callId": cell.call_id,
    }


def _facts(facts: Facts) -> Iterable[str]:
    if facts.total_s is not None:
        yield seconds(facts.total_s)
    if facts.output_tokens is not None:
        yield count(facts.output_tokens, "token")
    if facts.cost_usd is not None:
        yield money(facts.cost_usd)


def search_text(row: MatrixRow) -> str:
    """Return what a search looks through: id, prompts, input, answers, errors and reasons, without regard to case."""
    texts = [row.prompt_id, row.prompt, *map(_text, row.columns.values())]
    for cell in row.cells:
        if cell is not None:
            own = () if cell.prompt == row.prompt else (cell.prompt,)
            texts += [cell.response, cell.error, *own, *cell.reasons]
    return "\n".join(texts).casefold()


def excerpt(text: str) -> str:
    """Return the beginning of a text on one line, without control sequences, keys masked."""
    folded = text[:_READ_CHARS].strip()
    if not folded.isprintable() or "  " in folded:  # the only printable white space is the space
        folded = " ".join(folded.split())
        if not folded.isprintable():
            folded = " ".join(strip_control_sequences(text[:_READ_CHARS]).split())
    folded = redact(folded)
    if len(folded) <= _EXCERPT_CHARS and len(text) <= _READ_CHARS:
        return folded
    return f"{folded[: _EXCERPT_CHARS - 1]}…"


def _full(text: str) -> str:
    shown = redact(strip_control_sequences(text))
    left_out = len(shown) - _TEXT_CHARS
    return shown if left_out <= 0 else f"{shown[:_TEXT_CHARS]}… ({left_out:,} more characters)"


def input_columns(rows: Sequence[MatrixRow]) -> list[str]:
    """Return the columns of the input to show: not the ids, and not the texts that the prompts themselves contain.

    Short values are shown in any case: a label may occur in the instructions.
    """
    some = rows[:LOOKED_AT]
    names = dict.fromkeys(name for row in some for name in row.columns)
    return [name for name in names if name != "prompt_id" and not _is_in_prompt(name, some)]


def _is_in_prompt(name: str, rows: Sequence[MatrixRow]) -> bool:
    texts = [(_text(row.columns.get(name)), row.prompt) for row in rows]
    is_long = sum(len(text) for text, _ in texts) > _LABEL_CHARS * len(texts)
    return all(text == prompt or (is_long and text in prompt) for text, prompt in texts)


def _values(values: Sequence[Any]) -> list[str | float | None]:
    """Return the values of a column of the input; a text that occurs again is made once."""
    texts: dict[str, str | float | None] = {}
    found = []
    for value in values:
        if type(value) is not str:
            found.append(_value(value))
            continue
        if value not in texts:
            texts[value] = _value(value)
        found.append(texts[value])
    return found


def _value(value: Any) -> str | float | None:
    """Return a value of the input as a number, by which the page sorts, or as a short text."""
    if is_missing(value):
        return None
    number = plain_number(value)
    if isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < _MAX_EXACT:
        return number
    return shorten(_text(value), _VALUE_CHARS)


def _text(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return f"{len(value):,} bytes"
    return "" if is_missing(value) else str(value)
