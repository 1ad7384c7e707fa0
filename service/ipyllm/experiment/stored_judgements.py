"""Votes and notes on an experiment as a saved file has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipyllm.comparison.arms import canonical_json
from ipyllm.ledger.columns import NOTES, VOTES
from ipyllm.ledger.stored_values import read_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from ipyllm.ledger import Ledger

__all__ = ["restore_judgements", "stored_judgements"]

_VOTE_COLUMNS: Final = ("vote_id", "cast_at", "origin", "comparison", "prompt", "arms", "outcome", "blind", "tags")


def stored_judgements(votes: pd.DataFrame, on_experiment: Iterable[str], notes: pd.DataFrame) -> dict[str, Any]:
    """Return the ``votes`` with these ids, and the ``notes``, as JSON's values."""
    ids = set(on_experiment)
    kept = [{name: vote[name] for name in _VOTE_COLUMNS} for vote in votes.to_dict("records") if vote["vote_id"] in ids]
    return {
        "votes": [{**vote, "cast_at": vote["cast_at"].isoformat(), "tags": vote["tags"] or {}} for vote in kept],
        "notes": [{**note, "written_at": note["written_at"].isoformat()} for note in notes.to_dict("records")],
    }


def restore_judgements(document: Mapping[str, Any], ledger: Ledger) -> None:
    """Put the votes and notes of a checked document into a ledger. Files of earlier versions have none."""
    for vote in document.get("votes") or ():
        ledger.put({**vote, "cast_at": read_time(vote["cast_at"])}, VOTES)
    for note in document.get("notes") or ():
        ledger.put(
            {
                **note,
                "note_id": canonical_json([document["name"], note["prompt_id"]]),
                "written_at": read_time(note["written_at"]),
                "experiment": document["name"],
                "origin": "api",
            },
            NOTES,
        )
