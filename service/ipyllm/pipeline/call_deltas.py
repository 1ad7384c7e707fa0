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

    __slots__ = ("_by_id", "_has_name", "_ids", "_in_chunk", "_latest")

    def __init__(self) -> None:
        self._latest: dict[int | None, int] = {}  # by index: the slot that its pieces go to
        self._by_id: dict[tuple[int | None, str], int] = {}
        self._ids: list[str | None] = []  # of each slot
        self._has_name: list[bool] = []  # of each slot
        self._in_chunk: set[int] = set()

    def read(self, call: dict[str, Any], position: int) -> CallPiece:
        """Return the piece that ``call`` is, the one at ``position`` of its chunk."""
        if position == 0:
            self._in_chunk.clear()
        index, function = call.get("index"), call.get("function")
        function = function if isinstance(function, dict) else call
        id_, name, given = _text(call.get("id")), _text(function.get("name")), function.get("arguments")
        arguments = given if isinstance(given, str) else "" if given is None else json.dumps(given, ensure_ascii=False)
        index = index if isinstance(index, int) else None
        slot = self._known_slot(index, id_, name, arguments, position)
        if slot is None:
            slot = len(self._ids)
            self._ids.append(id_)
            self._has_name.append(False)
        if id_ is not None:
            self._by_id[index, id_] = slot
            self._ids[slot] = self._ids[slot] or id_
        self._latest[index] = slot
        self._in_chunk.add(slot)
        self._has_name[slot] = self._has_name[slot] or name is not None
        return CallPiece(slot, id_, name, arguments)

    def _known_slot(
        self, index: int | None, id_: str | None, name: str | None, arguments: str, position: int
    ) -> int | None:
        """Return the slot of a call that has begun already; None if the piece begins another."""
        if id_ is not None and (known := self._by_id.get((index, id_))) is not None:
            return None if name is not None and known in self._in_chunk else known
        latest = self._latest.get(index)
        if latest is None:
            return None
        if id_ is not None and self._ids[latest] is not None:  # another id
            return None if name is not None or not arguments else latest
        if index is None and (position > 0 or (name is not None and self._has_name[latest])):
            return None
        return latest


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
