"""Makes the next round of a comparison: it goes on with the models, letters and answers of the rounds before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.comparison.comparison import Comparison
from ipyllm.request import Provenance
from ipyllm_widgets.attachments.files import as_sent, check_window
from ipyllm_widgets.compare.arm_histories import earlier_messages
from ipyllm_widgets.compare.compare_round import CompareRound

if TYPE_CHECKING:
    from ipyllm.messages import Message
    from ipyllm_widgets.compare.compare_settings import CompareSettings

__all__ = ["conversation_of", "next_round", "reveal_conversation"]


def conversation_of(rounds: list[CompareRound], last: CompareRound) -> list[CompareRound]:
    """Return the rounds of a conversation up to ``last``: the first of them follows none."""
    before = rounds[: rounds.index(last) + 1]
    start = max((at for at, asked in enumerate(before) if not asked.follows), default=0)
    return before[start:]


def reveal_conversation(rounds: list[CompareRound], voted: CompareRound) -> None:
    """Show the names in all rounds of the conversation of this one: they have the same marks."""
    at = rounds.index(voted)
    end = next((n for n in range(at + 1, len(rounds)) if not rounds[n].follows), len(rounds))
    for asked in conversation_of(rounds, rounds[end - 1]):
        asked.comparison.reveal()


def next_round(number: int, question: Message, before: list[CompareRound], settings: CompareSettings) -> CompareRound:
    """Return a round that is not asked yet.

    Parameters
    ----------
    number : int
        Of the question, from 1.
    question : Message
        What all models are asked.
    before : list of CompareRound
        The rounds that it follows, each of whose models goes on with its own answers; empty to begin anew.
    settings : CompareSettings
        Models, system prompt, and whether their names are hidden.

    Raises
    ------
    LLMError
        A model cannot be asked.
    """
    names = settings.names
    blind = settings.blind and (not before or before[-1].comparison.names_hidden)
    is_new = bool(before) and set(names) != set(before[-1].names)
    if before:  # whoever was A stays A, also when a vote has shown the names
        shown = before[-1].names
        names = sorted(names, key=lambda name: shown.index(name) if name in shown else len(shown))
    services = [settings.service(name) for name in names]
    for service in services:
        check_window(question, service)
    retirement = " ".join(note for service in services if (note := service.retirement_note()) is not None)
    histories = [
        earlier_messages(before, name, question, service, settings.system)
        for name, service in zip(names, services, strict=True)
    ]
    comparison = Comparison(
        [as_sent(question)],
        services,
        system=settings.system or None,
        provenance=Provenance(origin="widget"),
        histories=[messages for messages, _ in histories],
        blind=blind,
        # A new model would have the last letter, and the letter of one that went would be missing.
        shuffle=blind and (not before or is_new),
    )
    places = [next(at for at, service in enumerate(services) if service is arm.given) for arm in comparison.arms]
    return CompareRound(
        number,
        question,
        comparison,
        [names[place] for place in places],
        follows=bool(before),
        notes=[histories[place][1] for place in places],
        note=retirement,
        has_new_letters=blind and is_new,
    )
