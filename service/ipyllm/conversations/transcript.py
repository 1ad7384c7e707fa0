"""What a conversation consists of, as immutable data, and the file it is saved in.

:mod:`ipyllm.conversations.history` owns what changes; what it hands on, forks, saves and loads is a :class:`Transcript`.
"""

from __future__ import annotations

import copy
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipyllm.atomic_file import atomic_write
from ipyllm.errors import LLMError
from ipyllm.text.redact import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.messages import Message

__all__ = ["SYSTEM_ROLES", "Transcript", "Turn", "checked", "dumps", "plain", "read", "write"]

SYSTEM_ROLES = ("developer", "system")
"""Roles of the message that leads a conversation; newer OpenAI models call it ``developer``."""
_ROLES = (*SYSTEM_ROLES, "user", "assistant", "tool")

_FORMAT = "ipyllm-conversation"
_VERSION = 1
_DEEPEST = 32  # no message of the protocol nests deeper than 6; what does would exhaust the stack one day


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and what followed it: the unit that is kept, replaced, undone or left out as a whole.

    Attributes
    ----------
    messages : sequence of Message
        In the OpenAI shape, the question first. Copied: the turn keeps what it was given.
    key : str or None
        A cell id, which lets the same cell replace its turn when it is run again.
    model : str or None
        Full name of the model that answered.
    status : str
        How the call ended, as in :class:`~ipyllm.response.ChatResponse`.

    Raises
    ------
    ValueError
        For what is no message, and for a system message, which belongs to the whole conversation.
    """

    messages: Sequence[Message] = ()
    key: str | None = None
    model: str | None = None
    status: str = "ok"

    def __post_init__(self) -> None:
        messages = tuple(checked(message) for message in self.messages)
        if any(message["role"] in SYSTEM_ROLES for message in messages):
            raise ValueError("A system message belongs to the conversation, not to a turn: use add_message.")
        object.__setattr__(self, "messages", messages)

    def longer_by(self, message: Message) -> Turn:
        """Return this turn with one more message, which must have been checked."""
        turn = copy.copy(self)  # not anew: checking all messages again would make long turns quadratic
        object.__setattr__(turn, "messages", (*self.messages, message))
        return turn

    def calls(self, tool_call_id: str) -> bool:
        """Whether a tool call of this turn has this id."""
        calls = (call for message in self.messages for call in message.get("tool_calls") or ())
        return any(call.get("id") == tool_call_id for call in calls)


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation as it was at one moment."""

    system: Message | None = None
    turns: tuple[Turn, ...] = ()
    max_messages: int | None = None
    max_tokens: int | None = None


def checked(message: Any) -> Message:
    """Return a copy of ``message``, which has the OpenAI shape.

    Raises
    ------
    ValueError
        It has not; the sentence says what is wrong, and never quotes the content.
    """
    if not isinstance(message, dict) or "role" not in message:
        raise ValueError('A message looks like {"role": "user", "content": "…"}.')
    role, content, calls = message["role"], message.get("content"), message.get("tool_calls")
    if role not in _ROLES:
        raise ValueError(f"There is no role {str(role)[:40]!r}; a message is of one of: {', '.join(_ROLES)}.")
    if not (content is None or isinstance(content, str) or _is_list_of_dicts(content)):
        raise ValueError(f"The content of a message is text or a list of parts, not {type(content).__name__}.")
    if content and not isinstance(content, str) and not all(isinstance(part.get("text", ""), str) for part in content):
        raise ValueError("The text of a part of a message is no text.")
    if not (calls is None or _is_list_of_dicts(calls)):
        raise ValueError('The tool_calls of a message are a list like [{"id": "…", "function": {…}}].')
    copied: Message = plain(message)
    return copied


def _is_list_of_dicts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, dict) for item in value)


def plain(value: Any, depth: int = 0) -> Any:
    """Return a copy of ``value`` that shares nothing mutable with it.

    Raises
    ------
    ValueError
        It holds what JSON cannot, and so could neither be sent nor saved.

    Examples
    --------
    >>> plain({"content": [{"type": "text"}], "ids": (1, 2)})
    {'content': [{'type': 'text'}], 'ids': [1, 2]}
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, dict | list | tuple) and depth < _DEEPEST:
        if isinstance(value, list | tuple):
            return [plain(item, depth + 1) for item in value]
        if all(isinstance(name, str) for name in value):
            return {name: plain(item, depth + 1) for name, item in value.items()}
    nested = f" nested deeper than {_DEEPEST}" if depth == _DEEPEST else ""
    raise ValueError(f"A message holds what JSON can hold, not this {type(value).__name__}{nested}.")


# ---- the file ------------------------------------------------------------------------------------


def dumps(transcript: Transcript) -> str:
    """Return the text of the file. Keys of providers are masked."""
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "max_messages": transcript.max_messages,
        "max_tokens": transcript.max_tokens,
        "system": transcript.system,
        "turns": [
            {"key": turn.key, "model": turn.model, "status": turn.status, "messages": turn.messages}
            for turn in transcript.turns
        ],
    }
    return json.dumps(_without_keys(document), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def write(transcript: Transcript, path: str | os.PathLike[str]) -> None:
    """Save as JSON, readable by its owner only, in one step: the file is the old one or the new one, never half.

    Halves of surrogate pairs, which no UTF-8 may hold, are written all the same.

    Raises
    ------
    LLMError
        The file cannot be written; what was there is untouched.
    """
    text = dumps(transcript)
    try:
        with atomic_write(_file(path)) as file:
            file.write(text.encode("utf-8", "surrogatepass"))
    except _UNUSABLE as exc:
        raise _unusable(path, f"cannot be written: {_reason(exc)}") from None


def _without_keys(value: Any) -> Any:
    if isinstance(value, str):
        # In a picture, a pattern can only match by chance, and would spoil it.
        return value if value.startswith("data:image/") else redact(value)
    if isinstance(value, dict):
        return {name: _without_keys(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_keys(item) for item in value]
    return value


def read(path: str | os.PathLike[str]) -> Transcript:
    """Read what :func:`write` wrote.

    Raises
    ------
    LLMError
        There is no such file, it is none of ours, it is damaged, or a newer ipyllm wrote it.
    """
    try:
        data = _file(path).read_bytes()
    except _UNUSABLE as exc:
        raise _unusable(path, f"cannot be read: {_reason(exc)}") from None
    try:
        document = json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise _unusable(path, "is no conversation that ipyllm has saved")
    version = document.get("version")
    if type(version) is int and version > _VERSION:
        raise _unusable(path, "was saved by a newer ipyllm: upgrade this one to load it")
    try:
        return _transcript(document)
    except ValueError as exc:
        raise _unusable(path, f"is damaged: {str(exc).rstrip('.')}") from None


def _transcript(document: dict[str, Any]) -> Transcript:
    version, system, turns = (document.get(name) for name in ("version", "system", "turns"))
    if type(version) is not int or version != _VERSION:
        raise ValueError("it says no format version")
    if turns is None or not _is_list_of_dicts(turns):
        raise ValueError("it has no list of turns")
    if system is not None:
        system = checked(system)
        if system["role"] not in SYSTEM_ROLES:
            raise ValueError("its system message has another role")
    read_turns = tuple(map(_turn, turns))
    keys = [turn.key for turn in read_turns if turn.key is not None]
    if len(keys) != len(set(keys)):
        raise ValueError("two of its turns have the same key")
    return Transcript(system, read_turns, _limit(document, "max_messages"), _limit(document, "max_tokens"))


def _turn(entry: dict[str, Any]) -> Turn:
    key, model, status, messages = (entry.get(name) for name in ("key", "model", "status", "messages"))
    if not (isinstance(key, str | None) and isinstance(model, str | None) and isinstance(status, str)):
        raise ValueError("the key, model or status of a turn is no text")  # noqa: TRY004 - one kind of error to catch
    if not isinstance(messages, list):
        raise ValueError("a turn has no list of messages")  # noqa: TRY004
    return Turn(messages, key, model, status)


def _limit(document: dict[str, Any], name: str) -> int | None:
    value = document.get(name)
    if value is None or type(value) is int:
        return value
    raise ValueError(f"{name} is no whole number")


# Path raises RuntimeError for a home that nobody has and for links in a circle, ValueError for a null character.
_UNUSABLE = (OSError, ValueError, RuntimeError)


def _file(path: str | os.PathLike[str]) -> Path:
    # The file itself where a link was named: saving would put a file in the place of the link.
    return Path(path).expanduser().resolve()


def _reason(exc: Exception) -> str:
    text = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
    return text[:1].lower() + text[1:]


def _unusable(path: str | os.PathLike[str], what: str) -> LLMError:
    return LLMError(f"The file {os.fspath(path)!r} {what}.", category="bad_request")
