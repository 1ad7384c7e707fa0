"""What the ledger keeps of an experiment beside its calls: its grid, its scores, a note and tags."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.experiment.stored_grid import data_hash, document_of
from ipyllm.ledger.columns import EXPERIMENTS
from ipyllm.ledger.ids import kernel_id
from ipyllm.ledger.packed import unpack
from ipyllm.ledger.query import ExperimentQuery
from ipyllm.text.suggest import suggest
from ipyllm.validate import tags_as_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from ipyllm.experiment.grid import Grid
    from ipyllm.ledger import Ledger

__all__ = ["checked_name", "checked_tags", "keep_note", "keep_record", "keep_scores", "read_record"]


def keep_record(
    ledger: Ledger, name: str, grid: Grid, table: pd.DataFrame | None, note: str | None, tags: Mapping[str, str] | None
) -> None:
    """Store the grid of an experiment that runs now. Note and tags that are None stay as they are."""
    now = datetime.now(UTC)
    known = ledger.read(ExperimentQuery(names=(name,)))
    given = {name: value for name, value in (("note", note), ("tags", tags)) if value is not None}
    ledger.put(
        {
            "name": name,
            "changed_at": now,
            **({} if known else {"started_at": now}),
            "kernel_id": kernel_id(),
            "arms": [arm.label for arm in grid.arms],
            "n_prompts": len(grid.prompts),
            "repeats": grid.repeats,
            "signature": grid.signature,
            "data_hash": data_hash(grid),
            "grid": document_of(grid, table),
            **given,
        },
        EXPERIMENTS,
    )


def keep_scores(ledger: Ledger, name: str, scores: Mapping[str, Any]) -> None:
    """Store the scores of an experiment."""
    ledger.put({"name": name, "changed_at": datetime.now(UTC), "scores": scores}, EXPERIMENTS)


def keep_note(ledger: Ledger, name: str, note: str | None, tags: Mapping[str, str] | None) -> None:
    """Store a note or tags of an experiment; None leaves them as they are."""
    given = {name: value for name, value in (("note", note), ("tags", tags)) if value is not None}
    if given:
        ledger.put({"name": name, "changed_at": datetime.now(UTC), **given}, EXPERIMENTS)


def read_record(ledger: Ledger, name: str) -> dict[str, Any]:
    """Return what the ledger keeps of an experiment, its grid and scores unpacked.

    Raises
    ------
    LLMError
        ``not_found``: there is no such experiment, or its grid was not stored.
    """
    query = ExperimentQuery(names=(name,), packed=True)
    rows = ledger.read(query)
    if not rows:
        others = ledger.read(ExperimentQuery())
        names = [row[ExperimentQuery().columns.index("name")] for row in others]
        advice = suggest(name, names) if names else "It lists none yet."
        raise LLMError(
            f"There is no experiment {name!r} in this ledger. {advice} Experiments of earlier versions are listed once "
            "they have run again.",
            category="not_found",
        )
    record = dict(zip(query.columns, rows[-1], strict=True))
    for column in ("grid", "scores"):
        record[column] = None if record[column] is None else unpack(record[column])
    if record["grid"] is None:
        raise LLMError(
            f"The rows of {name!r} were not stored, as IPYLLM_STORE_TEXT=0 asks: make the Experiment again, and its "
            "results() are there.",
            category="not_found",
        )
    return record


def checked_name(name: Any) -> str:
    """Return the name of an experiment; raise ``bad_request`` if it is not a line of text."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise bad_request(f"name must be a line of text, not {name!r}.")
    return name


def checked_tags(tags: Any) -> dict[str, str] | None:
    """Return tags as text; raise ``bad_request`` if they are no mapping."""
    return None if tags is None else tags_as_text(tags)
