"""Immutable contents of a conversation, and the file that it is saved in.

:mod:`ipyllm.conversations.history` holds the mutable state; it forks, saves and loads a :class:`Transcript`.
"""

from __future__ import annotations

import copy
import json
import math
import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ipyllm.atomic_file import atomic_write
from ipyllm.conversations.damaged_file import keep_copy, recover
from ipyllm.errors import LLMError, bad_request
from ipyllm.text.format import shorten
from ipyllm.text.redact_json import redact_json
from ipyllm.user_file import file_path, read_file
from ipyllm.validate import refuse_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ipyllm.messages import Message
    from ipyllm.response import ChatResponse

__all__ = [
    "SYSTEM_ROLES", "Transcript", "Turn", "document_of", "dumps", "from_document", "json_copy", "read",
    "validate_message", "write",
]  # fmt: skip

SYSTEM_ROLES = ("developer", "system")
"""Roles of the system message; newer OpenAI models call it ``developer``."""
_ROLES = (*SYSTEM_ROLES, "user", "assistant", "tool")

_FORMAT = "ipyllm-conversation"
_VERSION = 1
_MAX_BYTES = 256_000_000
_MAX_VALUES = 10_000_000  # of which an empty list of two bytes takes 64 bytes of memory
_MAX_DEPTH = 32  # messages of the protocol nest 6 deep; without a limit, others could exhaust the stack


@dataclass(frozen=True, slots=True)
class Turn:
    """A user message with everything that answers it; replaced, undone or left out as a whole.

    Attributes
    ----------
    messages : sequence of Message
        In the OpenAI format, the question first. Copied.
    key : str or None
        Cell id, so that a cell that runs again replaces its turn.
    model : str or None
        Full name of the model that answered.
    status : str
        How the call ended, as in :class:`~ipyllm.response.ChatResponse`.
    call_id : str or None
        Id of the call in the ledger; of several, with tools, the last.
    step_ids : sequence of str
        Ids of the calls before it.

    Raises
    ------
    ValueError
        A message is invalid, or is a system message, which belongs to the conversation.
    """

    messages: Sequence[Message] = ()
    key: str | None = None
    model: str | None = None
    status: str = "ok"
    call_id: str | None = None
    step_ids: Sequence[str] = ()

    @classmethod
    def answered(cls, messages: Sequence[Message], key: str | None, response: ChatResponse) -> Self:
        """Return the turn of messages that a response answered, its own message included.

        Examples
        --------
        >>> from ipyllm import ChatResponse
        >>> response = ChatResponse(content="Hello!", model="lab/m", call_id="01")
        >>> Turn.answered([{"role": "user", "content": "Hi"}, response.as_message()], None, response).call_id
        '01'
        """
        steps = tuple(step.call_id for step in response.steps if step.call_id not in {"", response.call_id})
        return cls(messages, key, response.model, response.status, response.call_id or None, steps)

    def __post_init__(self) -> None:
        messages = tuple(validate_message(message) for message in self.messages)
        if any(message["role"] in SYSTEM_ROLES for message in messages):
            raise ValueError("A system message belongs to the conversation, not to a turn: use add_message.")
        object.__setattr__(self, "messages", messages)

    def with_message(self, message: Message) -> Turn:
        """Return this turn with one more message, which must have been validated."""
        turn = copy.copy(self)  # without __post_init__: validating all messages again is quadratic
        object.__setattr__(turn, "messages", (*self.messages, message))
        return turn

    def calls(self, tool_call_id: str) -> bool:
        """Return whether a tool call of this turn has this id."""
        calls = (call for message in self.messages for call in message.get("tool_calls") or ())
        return any(call.get("id") == tool_call_id for call in calls)


@dataclass(frozen=True, slots=True)
class Transcript:
    """Snapshot of a conversation."""

    system: Message | None = None
    turns: tuple[Turn, ...] = ()
    max_messages: int | None = None
    max_tokens: int | None = None


def validate_message(message: Any) -> Message:
    """Return a copy of ``message``, or raise ValueError about its format, without quoting the content."""
    refuse_table(message.get("content") if isinstance(message, dict) else message)
    if not isinstance(message, dict) or "role" not in message:
        raise ValueError('A message looks like {"role": "user", "content": "…"}.')
    role, content, calls = message["role"], message.get("content"), message.get("tool_calls")
    if role not in _ROLES:
        raise ValueError(f"There is no role {shorten(str(role), 40)!r}. Use one of: {', '.join(_ROLES)}.")
    if not (content is None or isinstance(content, str) or _is_list_of_dicts(content)):
        raise ValueError(f"The content of a message must be text or a list of parts, not {type(content).__name__}.")
    if content and not isinstance(content, str) and not all(isinstance(part.get("text", ""), str) for part in content):
        raise ValueError("The text of a message's part must be a string.")
    if not (calls is None or _is_list_of_dicts(calls)):
        raise ValueError('The tool_calls of a message must be a list like [{"id": "…", "function": {…}}].')
    copied: Message = json_copy(message)
    return copied


def _is_list_of_dicts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, dict) for item in value)


def json_copy(value: Any, depth: int = 0) -> Any:
    """Return a deep copy of ``value``; raise ValueError if JSON cannot hold it: it could not be sent or saved."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, dict | list | tuple) and depth < _MAX_DEPTH:
        if isinstance(value, list | tuple):
            return [json_copy(item, depth + 1) for item in value]
        if all(isinstance(name, str) for name in value):
            return {name: json_copy(item, depth + 1) for name, item in value.items()}
    nested = f" nested deeper than {_MAX_DEPTH}" if depth == _MAX_DEPTH else ""
    raise ValueError(f"A message must contain only JSON values, not this {type(value).__name__}{nested}.")


# ---- the file ------------------------------------------------------------------------------------


def dumps(transcript: Transcript) -> str:
    """Return the text of the file. Provider keys are masked."""
    return json.dumps(redact_json(document_of(transcript)), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def document_of(transcript: Transcript) -> dict[str, Any]:
    """Return the JSON of the file; :func:`from_document` reads it."""
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "max_messages": transcript.max_messages,
        "max_tokens": transcript.max_tokens,
        "system": transcript.system,
        "turns": [
            {
                "key": turn.key,
                "model": turn.model,
                "status": turn.status,
                **({"call_id": turn.call_id} if turn.call_id else {}),
                **({"step_ids": list(turn.step_ids)} if turn.step_ids else {}),
                "messages": list(turn.messages),
            }
            for turn in transcript.turns
        ],
    }


def write(transcript: Transcript, path: str | os.PathLike[str]) -> None:
    """Save as JSON in one step, readable by its owner only. Lone surrogates, which UTF-8 refuses, are kept."""
    text = dumps(transcript)
    try:
        with atomic_write(_resolved(path)) as file:
            file.write(text.encode("utf-8", "surrogatepass"))
    except _FILE_ERRORS as exc:
        raise _file_error(path, f"cannot be written: {_reason(exc)}") from None


def read(path: str | os.PathLike[str]) -> Transcript:
    """Read a file that :func:`write` wrote; raise LLMError for any other file.

    Of a damaged file, what can be read is returned, with a warning, and a copy of it is kept.
    """
    try:
        data = read_file(_resolved(path), _MAX_BYTES)
        if data.count(b",") > _MAX_VALUES:
            raise _file_error(path, f"has more than {_MAX_VALUES:,} values, which no conversation needs")
    except _FILE_ERRORS as exc:
        raise _file_error(path, f"cannot be read: {_reason(exc)}") from None
    try:
        document = json.loads(data)  # in any encoding that JSON allows
    except (ValueError, RecursionError):
        document = None
    problem = "is not a conversation saved by ipyllm"
    if isinstance(document, dict) and document.get("format") == _FORMAT:
        version = document.get("version")
        if type(version) is int and version > _VERSION:
            raise _file_error(path, "was saved by a newer ipyllm. Upgrade ipyllm to load it")
        try:
            return from_document(document)
        except ValueError as exc:
            problem = f"is damaged: {str(exc).rstrip('.')}"
    recovered = _recovered(path, data)
    if recovered is None:
        raise _file_error(path, problem)
    return from_document(recovered)


def _recovered(path: str | os.PathLike[str], data: bytes) -> dict[str, Any] | None:
    """Return what can be read of a damaged file, and warn; None if that is nothing."""
    found = recover(data, _is_valid)
    if found is None:
        return None
    document, what = found
    kept = keep_copy(_resolved(path), data)
    warnings.warn(f"The file {os.fspath(path)!r} is damaged: {what}. {kept}", stacklevel=4)
    return document


def _is_valid(document: dict[str, Any]) -> bool:
    try:
        from_document(document)
    except ValueError:
        return False
    return document.get("format") == _FORMAT


def from_document(document: dict[str, Any]) -> Transcript:
    """Return the conversation of :func:`document_of`; raise ValueError if it is damaged."""
    version, system, turns = (document.get(name) for name in ("version", "system", "turns"))
    if type(version) is not int or version != _VERSION:
        raise ValueError("it has no format version")
    if turns is None or not _is_list_of_dicts(turns):
        raise ValueError("it has no list of turns")
    if system is not None:
        system = validate_message(system)
        if system["role"] not in SYSTEM_ROLES:
            raise ValueError("the role of its system message is not 'system'")
    read_turns = tuple(map(_turn, turns))
    keys = [turn.key for turn in read_turns if turn.key is not None]
    if len(keys) != len(set(keys)):
        raise ValueError("two of its turns have the same key")
    return Transcript(system, read_turns, _limit(document, "max_messages"), _limit(document, "max_tokens"))


def _turn(entry: dict[str, Any]) -> Turn:
    key, model, status, messages = (entry.get(name) for name in ("key", "model", "status", "messages"))
    if not (isinstance(key, str | None) and isinstance(model, str | None) and isinstance(status, str)):
        raise ValueError("the key, model or status of a turn is not text")  # noqa: TRY004 - one kind of error to catch
    if not isinstance(messages, list):
        raise ValueError("a turn has no list of messages")  # noqa: TRY004
    call_id, steps = entry.get("call_id"), entry.get("step_ids")
    step_ids = tuple(step for step in steps if isinstance(step, str)) if isinstance(steps, list) else ()
    return Turn(messages, key, model, status, call_id if isinstance(call_id, str) else None, step_ids)


def _limit(document: dict[str, Any], name: str) -> int | None:
    value = document.get(name)
    if value is None or type(value) is int:
        return value
    raise ValueError(f"{name} is not a whole number")


# Path raises RuntimeError for an unknown home and for circular links, ValueError for a null character.
_FILE_ERRORS = (OSError, ValueError, RuntimeError)


def _resolved(path: str | os.PathLike[str]) -> Path:
    # Follows a link: saving would otherwise replace the link by a file.
    return file_path(path).resolve()


def _reason(exc: Exception) -> str:
    text = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
    return text[:1].lower() + text[1:]


def _file_error(path: str | os.PathLike[str], what: str) -> LLMError:
    return bad_request(f"The file {shorten(repr(os.fspath(path)), 120)} {what}.")
