"""What pages were told of a widget's state: a change as what differs, an answer in deltas, a snapshot whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ipyllm_widgets.message_channel import Outbox

__all__ = ["Told"]

_ENVELOPE = 800  # bytes of a message without its deltas


class Told:
    """Remembers what was told. The outbox's lock is held by whoever calls.

    A state is a list of turns, dictionaries with an ``id``, and the rest of what is shown.

    Parameters
    ----------
    outbox : Outbox
        Where it goes.

    Examples
    --------
    >>> from ipyllm_widgets.message_channel import Outbox
    >>> sent = []
    >>> told = Told(Outbox(sent.append))
    >>> told.change([{"id": "t1", "status": "running"}], {"order": ["t1"]})
    >>> told.change([{"id": "t1", "status": "ok"}], {"order": ["t1"]})
    >>> sent[-1]
    {'kind': 'update', 'seq': 2, 'turns': [{'id': 't1', 'status': 'ok'}]}
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._turns: dict[str, dict[str, Any]] = {}
        self._rest: dict[str, Any] = {}

    def whole(self, turns: Iterable[dict[str, Any]], rest: dict[str, Any], coming: Mapping[str, Any]) -> dict[str, Any]:
        """Return a snapshot, with the number of the last message that is part of it.

        ``coming`` are the parts, as far as they were told in deltas, of turns that have none yet.
        """
        self._turns = {turn["id"]: turn for turn in turns}
        self._rest = rest
        shown = [turn | {"parts": coming[name]} if name in coming else turn for name, turn in self._turns.items()]
        return {"seq": self._outbox.seq, "turns": shown, **rest}

    def change(self, turns: Iterable[dict[str, Any]], rest: dict[str, Any]) -> None:
        """Tell what differs from what was told."""
        news: list[dict[str, Any]] = []
        now: dict[str, dict[str, Any]] = {}
        for turn in turns:
            known = self._turns.get(turn["id"], {})
            new = _differing(turn, known)
            if new:
                news.append({"id": turn["id"], **new})
            now[turn["id"]] = known | turn
        changed = _differing(rest, self._rest)
        self._turns, self._rest = now, rest
        if news or changed:
            self._outbox.post("update", turns=news, **changed)

    def grow(self, deltas: list[dict[str, Any]]) -> int:
        """Tell how answers have grown, and return about how many bytes that took."""
        self._outbox.post("delta", deltas=deltas)
        return _ENVELOPE + sum(len(delta["tail"][1]) + sum(map(len, delta.get("add", ()))) for delta in deltas)

    def has_all(self, name: str, parts: Any) -> None:
        """Count the parts of an answer as told: they were, in deltas."""
        if name in self._turns:
            self._turns[name]["parts"] = parts


def _differing(now: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in now.items() if name not in known or known[name] != value}
