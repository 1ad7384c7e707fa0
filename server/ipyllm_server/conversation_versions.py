"""Other versions of a conversation's turns: questions that were edited, answers that were given again.

The history has the turns that are shown. Each version that is not shown is kept here with all that followed it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.conversations.transcript import Transcript, Turn, document_of, from_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["ConversationVersions"]


class ConversationVersions:
    """The turns that a conversation has beyond those it shows. Turns are told apart by the id of their call.

    Parameters
    ----------
    hidden : iterable of (str or None, sequence of Turn)
        The call after which a version begins, None at the beginning of the conversation; and its turns.

    Examples
    --------
    >>> versions = ConversationVersions()
    >>> first, second, edited = (Turn(call_id=call_id) for call_id in ("01", "02", "03"))
    >>> shown = versions.replace([first, second], 0, edited)
    >>> versions.of(shown), [turn.call_id for turn in versions.show(shown, "01") or ()]
    ([['01', '03']], ['01', '02'])
    """

    def __init__(self, hidden: Iterable[tuple[str | None, Sequence[Turn]]] = ()) -> None:
        self._hidden: dict[str | None, list[Sequence[Turn]]] = {}
        for after, turns in hidden:
            self._hide(after, turns)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> ConversationVersions:
        """Return what :meth:`document` has of a conversation; raise ValueError if it is damaged."""
        entries = document.get("versions", [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError("the versions of a conversation are no list")
        hidden = [(entry.get("after"), from_document({"version": 1, "turns": entry.get("turns")})) for entry in entries]
        if not all(isinstance(after, str | None) and contents.turns for after, contents in hidden):
            raise ValueError("a version of a conversation is without turns, or its place")
        return cls((after, contents.turns) for after, contents in hidden)

    def document(self) -> dict[str, Any]:
        """Return what the document of a conversation has besides its transcript, as JSON."""
        entries = [
            {"after": after, "turns": document_of(Transcript(turns=tuple(turns)))["turns"]}
            for after, versions in self._hidden.items()
            for turns in versions
        ]
        return {"versions": entries} if entries else {}

    def of(self, shown: Sequence[Turn]) -> list[list[str | None]]:
        """Return for each turn that is shown the calls of all its versions, the oldest first."""
        found = ([turn, *(turns[0] for turns in self._versions_at(shown, at))] for at, turn in enumerate(shown))
        return [sorted((turn.call_id for turn in versions), key=lambda call_id: call_id or "") for versions in found]

    def replace(self, shown: Sequence[Turn], at: int, turn: Turn) -> list[Turn]:
        """Return the turns with a new version at a place; what stood there is kept with all that followed."""
        self._hide(_call_before(shown, at), shown[at:])
        return [*shown[:at], turn]

    def show(self, shown: Sequence[Turn], call_id: str) -> list[Turn] | None:
        """Return the turns with the version of this call and what followed it; None if no turn has such a version."""
        for at in range(len(shown)):
            versions = self._versions_at(shown, at)
            for turns in versions:
                if turns[0].call_id == call_id:
                    versions.remove(turns)
                    self._hide(_call_before(shown, at), shown[at:])
                    return [*shown[:at], *turns]
        return None

    def clear(self) -> None:
        """Forget them all."""
        self._hidden.clear()

    def _hide(self, after: str | None, turns: Sequence[Turn]) -> None:
        self._hidden.setdefault(after, []).append(tuple(turns))

    def _versions_at(self, shown: Sequence[Turn], at: int) -> list[Sequence[Turn]]:
        return self._hidden.get(_call_before(shown, at), [])


def _call_before(turns: Sequence[Turn], at: int) -> str | None:
    return turns[at - 1].call_id if at else None
