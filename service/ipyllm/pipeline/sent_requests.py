"""What the ledger keeps of a request: its JSON, without the messages that an earlier request of the conversation has.

:mod:`ipyllm.dataframes.sent_request` puts it together again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["request_to_store"]

_MOST_LINKS: Final = 32
"""After so many requests that refer to the one before, the next is stored whole: few are lost with a deleted row."""

_MOST_CONVERSATIONS: Final = 64


@dataclass(frozen=True, slots=True)
class _Earlier:
    """The latest request of a conversation, in the ledger ``sink``."""

    sink: ref[Any]
    call_id: str
    messages: Sequence[Any]
    links: int


_latest: dict[str, _Earlier] = {}  # used on the service thread only


def request_to_store(call_id: str, body: Mapping[str, Any], conversation: str | None, sink: Any) -> dict[str, Any]:
    """Return what is stored of a request: ``body``, and with ``after`` and ``shared`` the call that has its beginning.

    Examples
    --------
    >>> class Sink: ...
    >>> ledger, first = Sink(), [{"role": "user", "content": "one"}, {"role": "assistant", "content": "ONE"}]
    >>> request_to_store("01", {"model": "m", "messages": first}, "demo", ledger)["body"]["messages"] == first
    True
    >>> request_to_store("02", {"model": "m", "messages": [*first, {"role": "user", "content": "two"}]}, "demo", ledger)
    {'body': {'model': 'm', 'messages': [{'role': 'user', 'content': 'two'}]}, 'after': '01', 'shared': 2}
    """
    if conversation is None:
        return {"body": body}
    field = "messages" if "messages" in body else "input"
    messages = body.get(field)
    if not isinstance(messages, list | tuple):
        return {"body": body}
    stored: dict[str, Any] = {"body": body}
    links = 0
    earlier = _latest.pop(conversation, None)
    if earlier is not None and earlier.sink() is sink and earlier.links < _MOST_LINKS:
        shared = _shared(earlier.messages, messages)
        if shared > 1:
            links = earlier.links + 1
            stored = {"body": {**body, field: messages[shared:]}, "after": earlier.call_id, "shared": shared}
    _latest[conversation] = _Earlier(ref(sink), call_id, messages, links)
    if len(_latest) > _MOST_CONVERSATIONS:
        del _latest[next(iter(_latest))]
    return stored


def _shared(earlier: Sequence[Any], messages: Sequence[Any]) -> int:
    """Return how many messages both begin with."""
    n = 0
    for before, now in zip(earlier, messages, strict=False):
        if before != now:
            break
        n += 1
    return n
