"""Comparisons in the ledger: rounds and settings come back after a restart of the kernel, by the comparison's name."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from ipyllm.comparison.stored_comparison import comparison_document, read_comparisons
from ipyllm.conversations import saved
from ipyllm.conversations.transcript import validate_message
from ipyllm.errors import LLMError
from ipyllm.observability.logs import log_failure
from ipyllm.request import Provenance
from ipyllm_widgets import saved_queue
from ipyllm_widgets.attachments.files import as_sent
from ipyllm_widgets.compare.compare_round import CompareRound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipyllm.comparison.comparison import Comparison
    from ipyllm.messages import Message
    from ipyllm_widgets.compare.compare_settings import CompareSettings

__all__ = [
    "look_up_comparison",
    "look_up_draft",
    "look_up_queue",
    "save_comparison",
    "save_draft",
    "save_queue",
]

_KIND: Final = "comparison"
_FORMAT: Final = {"format": "ipyllm-comparisons", "version": 1}
_logger = logging.getLogger("ipyllm.widgets")


def look_up_draft(name: str) -> str:
    """Return what was typed into the comparison of this name, and not sent; empty for nothing."""
    return saved.look_up_draft(name, _KIND)


def save_draft(name: str, draft: str) -> None:
    """Save what was typed into the comparison, and not sent. Never raises."""
    saved.save_draft(name, draft, _KIND)


def look_up_queue(name: str) -> list[Message]:
    """Return the questions that waited in the comparison of this name."""
    return saved_queue.look_up_queue(name, _KIND)


def save_queue(name: str, questions: Sequence[Message]) -> None:
    """Save the questions that wait in the comparison. Never raises."""
    saved_queue.save_queue(name, questions, _KIND)


def save_comparison(
    name: str, given: CompareSettings, settings: CompareSettings, rounds: Iterable[CompareRound]
) -> None:
    """Save all rounds of the comparison of this name, and its settings, of which its cell gave some. Never raises."""
    document: dict[str, Any] = {**_FORMAT, "rounds": list(map(_document, rounds))}
    if settings is not given and settings.services.keys() <= given.services.keys():  # others are gone with the kernel
        document["settings"] = {"given": given.as_json(), "now": settings.as_json()}
    saved.save_document(_KIND, name, document)


def look_up_comparison(name: str, given: CompareSettings) -> tuple[CompareSettings, list[CompareRound]]:
    """Return settings and rounds of the comparison as this notebook left it.

    The settings are those ``given``, if the cell gave others then, and no rounds if there are none or they are damaged.
    """
    document = saved.look_up_document(_KIND, name)
    if not isinstance(document, dict) or {key: document.get(key) for key in _FORMAT} != _FORMAT:
        return given, []
    return _settings(document.get("settings"), given), _rounds(document)


def _settings(known: Any, given: CompareSettings) -> CompareSettings:
    if not isinstance(known, dict) or known.get("given") != given.as_json():
        return given
    try:
        return given.with_changes({name: known["now"][name] for name in known["given"]})
    except (LLMError, ValueError, TypeError, KeyError) as exc:  # such as a model that is there no more
        log_failure(_logger, "the settings of a saved comparison cannot be used", exc)
        return given


def _rounds(document: Mapping[str, Any]) -> list[CompareRound]:
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
        "new_letters": asked.has_new_letters,
        "comparison": comparison_document(asked.comparison),
    }


def _round(known: Mapping[str, Any], comparison: Comparison) -> CompareRound:
    asked = CompareRound(
        int(known["number"]),
        known["question"],
        comparison,
        list(map(str, known["names"])),
        follows=bool(known["follows"]),
        notes=list(map(str, known["notes"])),
        note=str(known["note"]),
        has_new_letters=bool(known.get("new_letters")),
    )
    if len(asked.names) != len(comparison.arms) or len(asked.notes) != len(comparison.arms):
        raise ValueError("its names are not those of its answers")
    return asked
