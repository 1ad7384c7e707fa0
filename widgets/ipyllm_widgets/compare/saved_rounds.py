"""The rounds of a comparison in the ledger: they come back after a restart of the kernel, by the comparison's name."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from ipyllm.comparison.stored_comparison import comparison_document, read_comparisons
from ipyllm.conversations import saved
from ipyllm.conversations.transcript import validate_message
from ipyllm.observability.logs import log_failure
from ipyllm.request import Provenance
from ipyllm_widgets.attachments.files import as_sent
from ipyllm_widgets.compare.compare_round import CompareRound
from ipyllm_widgets.live_answer import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ipyllm.comparison.stored_comparison import StoredComparison

__all__ = ["look_up_draft", "look_up_rounds", "save_draft", "save_rounds"]

_KIND: Final = "comparison"
_FORMAT: Final = {"format": "ipyllm-comparisons", "version": 1}
_logger = logging.getLogger("ipyllm.widgets")


def look_up_draft(name: str) -> str:
    """Return what was typed into the comparison of this name, and not sent; empty for nothing."""
    return saved.look_up_draft(name, _KIND)


def save_draft(name: str, draft: str) -> None:
    """Save what was typed into the comparison, and not sent. Never raises."""
    saved.save_draft(name, draft, _KIND)


def save_rounds(name: str, rounds: Iterable[CompareRound]) -> None:
    """Save all rounds of the comparison of this name. Never raises."""
    saved.save_document(_KIND, name, {**_FORMAT, "rounds": list(map(_document, rounds))})


def look_up_rounds(name: str) -> list[CompareRound]:
    """Return the rounds of the comparison as this notebook left it; none if there are none, or they are damaged."""
    document = saved.look_up_document(_KIND, name)
    if not isinstance(document, dict) or {key: document.get(key) for key in _FORMAT} != _FORMAT:
        return []
    try:
        rounds = document["rounds"]
        asked = [(known["comparison"], [as_sent(validate_message(known["question"]))]) for known in rounds]
        comparisons = read_comparisons(asked, Provenance(origin="widget"))
        return [_round(*each) for each in zip(rounds, comparisons, strict=True)]
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        log_failure(_logger, "a saved comparison is damaged", exc)
        return []


def _document(asked: CompareRound) -> dict[str, Any]:
    return {
        "number": asked.number,
        "question": asked.question,
        "names": list(asked.names),
        "follows": asked.follows,
        "notes": list(asked.notes),
        "note": asked.note,
        "comparison": comparison_document(asked.comparison),
    }


def _round(known: Mapping[str, Any], comparison: StoredComparison) -> CompareRound:
    asked = CompareRound(
        int(known["number"]),
        known["question"],
        comparison,
        list(map(str, known["names"])),
        follows=bool(known["follows"]),
        notes=list(map(str, known["notes"])),
        note=str(known["note"]),
        is_stored=True,
    )
    if len(asked.names) != len(comparison.arms) or len(asked.notes) != len(comparison.arms):
        raise ValueError("its names are not those of its answers")
    for answer, response in zip(asked.answers, comparison.responses, strict=True):
        asked.parts[answer.name] = {} if response is None else parts_of(response.reasoning, response.content)
    return asked
