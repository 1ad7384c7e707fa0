"""Results of an experiment from what the ledger keeps of it, without the code that made its grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.experiment.archive import read_archive
from ipyllm.experiment.parsed_answers import ParsedAnswers
from ipyllm.experiment.records import read_record
from ipyllm.experiment.results import Results
from ipyllm.experiment.scores import Scores
from ipyllm.experiment.stored_document import checked_document
from ipyllm.experiment.stored_grid import grid_of, table_of
from ipyllm.experiment.stored_judgements import restore_judgements
from ipyllm.ledger import Ledger
from ipyllm.ledger.current import current_ledger

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

__all__ = ["load_results", "open_results"]


def open_results(name: str, scorers: Iterable[Any] | None = (), ledger: Ledger | None = None) -> Results:
    """Return the results of an experiment in ``ledger``, by default the current one.

    Raises
    ------
    LLMError
        ``not_found``: there is no such experiment, or its grid was not stored. ``bad_request``: its record is damaged.
    """
    ledger = current_ledger() if ledger is None else ledger
    try:
        return _results_of(checked_document(read_record(ledger, name)), ledger, scorers)
    except (ValueError, RecursionError) as exc:
        raise bad_request(f"What the ledger keeps of {name!r} is damaged: {exc}. Make the Experiment again.") from None


def load_results(path: str | os.PathLike[str]) -> Results:
    """Return the results in a file that ``results.save()`` wrote. Its calls are in a ledger of their own, in memory.

    Raises
    ------
    LLMError
        ``bad_request``: the file cannot be read, or is no saved experiment.
    """
    document, rows = read_archive(path)
    ledger = Ledger("sqlite://")
    for row in rows:
        ledger.put(row)
    restore_judgements(document, ledger)
    ledger.flush()
    return _results_of(document, ledger, is_trusted=False)


def _results_of(
    record: Mapping[str, Any], ledger: Ledger, scorers: Iterable[Any] | None = (), *, is_trusted: bool = True
) -> Results:
    """Return the results of the experiment that ``record`` describes, whose calls are in ``ledger``.

    Scores are those that were stored, unless ``scorers`` are given. A schema that is not trusted checks no answers: it
    could take forever.
    """
    grid = grid_of(record["grid"], check_answers=is_trusted)
    parsed = ParsedAnswers(grid)
    scores = Scores(scorers, grid, parsed)
    if not scorers and record["scores"] is not None:
        scores.restore(record["scores"])
    table = table_of(record["grid"], grid)
    return Results(
        record["name"],
        grid,
        ledger,
        scores,
        parsed,
        texts=None,
        table=table,
        current_run=lambda: None,
        latest_run=lambda: None,
        concurrency=lambda: None,
    )
