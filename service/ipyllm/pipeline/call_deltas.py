"""Assigns the pieces of function calls in a stream of chat completions to their calls.

A call is known by its index. But some servers give several calls the same index, or none, and tell them apart by their
ids; some repeat the id and the name in every piece; vLLM once gave each piece of a call another id.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

__all__ = ["CallDeltas", "CallPiece"]


class CallPiece(NamedTuple):
    """A piece of one function call.

    Attributes
    ----------
    slot : int
        Number of the call in the response.
    id, name : str or None
        If the piece has them.
    arguments : str
        A piece of JSON text.
    """

    slot: int
    id: str | None
    name: str | None
    arguments: str


class CallDeltas:
    """The function calls of one response, by what their pieces have told.

    Examples
    --------
    >>> calls = CallDeltas()
    >>> first = {"index": 0, "id": "a", "function": {"name": "add", "arguments": {"x": 1}}}
    >>> second = {"index": 0, "id": "b", "function": {"name": "add"}}
    >>> calls.read(first, 0), calls.read(second, 0).slot
    (CallPiece(slot=0, id='a', name='add', arguments='{"x": 1}'), 1)
    """

    __slots__ = ("_by_id", "_has_name", "_ids", "_latest")

    def __init__(self) -> None:
        self._latest: dict[int | None, int] = {}  # by index: the slot that its pieces go to
        self._by_id: dict[tuple[int | None, str], int] = {}
        self._ids: list[str | None] = []  # of each slot
        self._has_name: list[bool] = []  # of each slot

    def read(self, call: dict[str, Any], position: int) -> CallPiece:
        """Return the piece that ``call`` is, the one at ``position`` of its chunk."""
        index, function = call.get("index"), call.get("function")
        function = function if isinstance(function, dict) else call
        id_, name, arguments = (_text(value) for value in (call.get("id"), function.get("name"), None))
        given = function.get("arguments")
        arguments = given if isinstance(given, str) else "" if given is None else json.dumps(given, ensure_ascii=False)
        slot = self._slot(index if isinstance(index, int) else None, id_, name, arguments, position)
        self._has_name[slot] = self._has_name[slot] or name is not None
        return CallPiece(slot, id_, name, arguments)

    def _slot(self, index: int | None, id_: str | None, name: str | None, arguments: str, position: int) -> int:
        latest = self._latest.get(index)
        known = None if id_ is None else self._by_id.get((index, id_))
        if known is not None:
            slot = known
        elif latest is None or self._begins_another(latest, index, id_, name, arguments, position):
            slot = len(self._ids)
            self._ids.append(None)
            self._has_name.append(False)
        else:
            slot = latest
        if id_ is not None:
            self._by_id[index, id_] = slot
            self._ids[slot] = self._ids[slot] or id_
        self._latest[index] = slot
        return slot

    def _begins_another(
        self, latest: int, index: int | None, id_: str | None, name: str | None, arguments: str, position: int
    ) -> bool:
        """Whether a piece with a new id, or none, begins another call than the latest one of its index."""
        if id_ is not None and self._ids[latest] is not None:
            return name is not None or not arguments
        return index is None and (position > 0 or (name is not None and self._has_name[latest]))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
