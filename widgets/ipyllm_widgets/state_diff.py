"""Sends views only the changed state: updates with the fields that differ, answers as deltas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ipyllm_widgets.message_channel import MessageChannel

__all__ = ["StateDiff"]

_ENVELOPE_BYTES = 800  # of a message without its deltas


class StateDiff:
    """Remembers the state that was sent. Callers hold the channel's lock.

    The state is a list of turns (dictionaries with an ``id``) and the fields around them.

    Examples
    --------
    >>> from ipyllm_widgets.message_channel import MessageChannel
    >>> sent = []
    >>> diff = StateDiff(MessageChannel(lambda message, buffers: sent.append(message)))
    >>> diff.send_update([{"id": "t1", "status": "running"}], {"order": ["t1"]})
    >>> diff.send_update([{"id": "t1", "status": "ok"}], {"order": ["t1"]})
    >>> sent[-1]
    {'kind': 'update', 'seq': 2, 'turns': [{'id': 't1', 'status': 'ok'}]}
    """

    def __init__(self, channel: MessageChannel) -> None:
        self._channel = channel
        self._turns: dict[str, dict[str, Any]] = {}
        self._fields: dict[str, Any] = {}

    def snapshot(
        self, turns: Iterable[dict[str, Any]], fields: dict[str, Any], live_parts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the complete state, with the number of the last message that it includes.

        Parameters
        ----------
        live_parts : mapping
            Parts of unfinished answers as sent so far, by the id of the turn.
        """
        self._turns = {turn["id"]: turn for turn in turns}
        self._fields = fields
        shown = [turn | {"parts": live_parts[id_]} if id_ in live_parts else turn for id_, turn in self._turns.items()]
        return {"seq": self._channel.seq, "turns": shown, **fields}

    def send_update(
        self, turns: Iterable[dict[str, Any]], fields: dict[str, Any], live_parts: Mapping[str, Any] | None = None
    ) -> None:
        """Send the changes since the last message, if there are any.

        ``live_parts`` are those of unfinished answers as sent so far: of a turn that is shown anew they are sent again.
        """
        changed_turns: list[dict[str, Any]] = []
        now: dict[str, dict[str, Any]] = {}
        for turn in turns:
            known = self._turns.get(turn["id"], {})
            parts = None if known else (live_parts or {}).get(turn["id"])
            if changed := _changed_fields(turn | {"parts": parts} if parts else turn, known):
                changed_turns.append({"id": turn["id"], **changed})
            now[turn["id"]] = known | turn
        changed_fields = _changed_fields(fields, self._fields)
        self._turns, self._fields = now, fields
        if changed_turns or changed_fields:
            self._channel.send_change("update", turns=changed_turns, **changed_fields)

    def send_deltas(self, deltas: list[dict[str, Any]]) -> int:
        """Send the changes of running answers, and return the approximate number of bytes."""
        self._channel.send_change("delta", deltas=deltas)
        return _ENVELOPE_BYTES + sum(len(delta["tail"][1]) + sum(map(len, delta.get("add", ()))) for delta in deltas)

    def mark_sent(self, turn_id: str, parts: Any) -> None:
        """Record the parts of an answer as sent: deltas have sent them."""
        if turn_id in self._turns:
            self._turns[turn_id]["parts"] = parts


def _changed_fields(now: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in now.items() if name not in known or known[name] != value}
