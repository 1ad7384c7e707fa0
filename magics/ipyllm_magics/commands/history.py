"""``%llm_history``: show, undo, copy, save, load and export conversations."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipyllm.conversations.history import ConversationHistory, conversation, conversations
from ipyllm.conversations.saved import saved_names
from ipyllm.conversations.transcript import SYSTEM_ROLES
from ipyllm.messages import text_of
from ipyllm.pipeline.stored_responses import response_to, stored_responses
from ipyllm.rendering import ending_text, escape_markdown, to_markdown
from ipyllm.rendering.markdown_source import fenced
from ipyllm.text.format import count, shorten
from ipyllm.text.suggest import suggest
from ipyllm.text.terminal import strip_control_sequences
from ipyllm.user_file import file_path, write_file
from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    import pandas as pd

    from ipyllm.conversations.history import Turn
    from ipyllm.messages import Message

__all__ = [
    "ConversationView", "clear", "existing_conversation", "export", "fork", "load", "outdated_turns_note", "request",
    "save", "show", "table", "undo",
]  # fmt: skip

_QUESTION_CHARS = 60  # in a sentence or a table


class ConversationView:
    """Shows a conversation as HTML or markdown in a notebook and as text elsewhere."""

    def __init__(self, name: str, history: ConversationHistory, last: int | None = None) -> None:
        self._name = name
        turns = history.turns if last is None else history.turns[-last:]
        self._messages = history.get_messages()
        if last is not None:
            self._messages = [message for turn in turns for message in turn.messages]
        self._roles = [str(message["role"]) for message in self._messages]
        stored, end = stored_responses(turns), len(self._roles)
        for turn in reversed(turns):  # the oldest may have been left out
            if end <= 0 or self._messages[end - 1]["role"] in SYSTEM_ROLES:
                break
            if ending := ending_text(response_to(turn, stored)):
                self._roles[end - 1] += f" ({ending})"
            end -= len(turn.messages)

    def __repr__(self) -> str:
        if not self._messages:
            return f"The conversation {self._name!r} is empty."
        return "\n\n".join(
            f"{strip_control_sequences(role)}: {strip_control_sequences(text_of(message))}"
            for role, message in zip(self._roles, self._messages, strict=True)
        )

    def _repr_html_(self) -> str:
        if not self._messages:
            return f"<p>The conversation <b>{escape(self._name)}</b> is empty.</p>"
        from ipyllm.rendering import styled, to_html
        from ipyllm.rendering.markdown import plain_html

        html = "".join(
            f'<div class="ipyllm-turn"><div class="ipyllm-footer">{escape(role)}</div>'
            f"{(to_html if _is_answer(message) else plain_html)(text_of(message))}</div>"
            for role, message in zip(self._roles, self._messages, strict=True)
        )
        return styled(html)

    def _repr_markdown_(self) -> str:
        if not self._messages:
            return f"The conversation {escape_markdown(repr(self._name))} is empty."
        return "\n\n".join(
            f"**{escape_markdown(role)}**\n\n"
            + (to_markdown(text_of(message)) if _is_answer(message) else fenced(text_of(message)).rstrip())
            for role, message in zip(self._roles, self._messages, strict=True)
        )


def _is_answer(message: Message) -> bool:
    """Return whether a message is the model's, in Markdown; others are shown as typed, lines and rows kept."""
    return bool(message["role"] == "assistant")


class SentRequestView(dict[str, Any]):
    """A request as it was sent: a dict, shown as JSON."""

    def __repr__(self) -> str:
        return strip_control_sequences(json.dumps(self, ensure_ascii=False, indent=2))


def show(name: str, last: int | None = None) -> ConversationView:
    """Return the conversation, or its last turns only, for display."""
    return ConversationView(name, existing_conversation(name), last)


def request(which: str) -> SentRequestView:
    """Return what was sent for a call of this kernel: the last one, the second last, …, or the one with an id."""
    from ipyllm import sent_request
    from ipyllm.ledger import current_ledger
    from ipyllm.ledger.ids import kernel_ids
    from ipyllm.ledger.query import Query

    if which and not which.isdecimal():
        return SentRequestView(sent_request(which))
    number = int(which or 1)
    if number < 1:
        raise MagicError("%llm_history request takes 1 for the last call, 2 for the one before, …, or a call_id.")
    query = Query(kernel_ids=kernel_ids(), text=False, limit=number)
    calls = current_ledger().read(query)
    if len(calls) < number:
        raise MagicError(f"This kernel has made {count(len(calls), 'call')}, so there is no request {number}.")
    return SentRequestView(sent_request(calls[0][query.columns.index("call_id")]))


def table() -> pd.DataFrame:
    """Return one row for each conversation of this kernel, and of this notebook before."""
    import pandas as pd

    from ipyllm.conversations.tokens import estimate_messages
    from ipyllm_magics.display.untruncated_frame import UntruncatedFrame

    for name in saved_names():
        conversation(name, tell=None)
    rows = [
        {
            "conversation": name,
            "turns": len(history.turns),
            "messages": len(history),
            "estimated_tokens": estimate_messages(history.to_messages()),
            "last_question": _question(history.turns[-1]) if history.turns else "",
        }
        for name, history in sorted({"default": conversation(tell=None), **conversations()}.items())
    ]
    frame = UntruncatedFrame(rows)
    assert isinstance(frame, pd.DataFrame)
    return frame


def clear(name: str) -> str:
    """Remove all messages of the conversation."""
    messages = count(len(existing_conversation(name)), "message")
    existing_conversation(name).clear()
    return f"Cleared {name!r} ({messages})."


def undo(name: str, n: int) -> str:
    """Remove the last turns."""
    removed = existing_conversation(name).undo(n)
    if not removed:
        return f"There is nothing to undo: the conversation {name!r} has no turns."
    return (
        f"Removed {count(len(removed), 'turn')} from {name!r}: {', '.join(repr(_question(turn)) for turn in removed)}."
    )


def fork(name: str, new: str) -> str:
    """Copy the conversation under another name."""
    if new == name:
        raise MagicError(f"The copy of {name!r} needs another name.")
    copied = existing_conversation(name).fork(new)
    return f"Copied {name!r} ({count(len(copied), 'message')}) to {new!r}. Continue it with %%llm -c {new}"


def save(name: str, path: str, *, replace: bool) -> str:
    """Save the conversation for :func:`load`."""
    target = _target(path, replace=replace)
    existing_conversation(name).save(target)
    return f"Saved {name!r} ({count(len(existing_conversation(name)), 'message')}) to {target}."


def load(name: str, path: str, *, replace: bool) -> str:
    """Load a saved conversation."""
    loaded = ConversationHistory.load(path)
    history = conversation(name, tell=None)
    if len(history) and not replace:
        held = count(len(history), "message")
        raise MagicError(
            f"The conversation {name!r} already has {held}: choose another name with -c, or use --replace."
        )
    history.restore(loaded)
    return f"Loaded {count(len(history), 'message')} into {name!r}."


def export(name: str, path: str, *, replace: bool) -> str:
    """Write the conversation as a document."""
    from ipyllm.conversations.export import FORMATS, export_conversation

    suffix = file_path(path).suffix.removeprefix(".").lower()
    if suffix not in FORMATS:
        endings = ", ".join("." + known for known in FORMATS)
        hint = suggest(suffix, FORMATS, otherwise="")
        raise MagicError(f"%llm_history export writes files that end in {endings}, not {path!r}. {hint}")
    text = export_conversation(existing_conversation(name), suffix, title=name)
    target = _target(path, replace=replace)
    write_file(target, text)
    return f"Exported {name!r} ({count(len(existing_conversation(name)), 'message')}) to {target}."


def outdated_turns_note(history: ConversationHistory | None, key: str | None) -> str | None:
    """Return a note about later turns that were based on a cell's old answer, or None.

    Examples
    --------
    >>> from ipyllm.conversations.history import Turn
    >>> history = ConversationHistory()
    >>> for key, text in (("a#1", "Name a city."), ("b#1", "Where is it?")):
    ...     history.put_turn(Turn(({"role": "user", "content": text},), key))
    >>> outdated_turns_note(history, "a#1")
    "1 later answer still uses this cell's old text: 'Where is it?'. Re-run its cell to update it."
    >>> outdated_turns_note(history, "b#1") is None
    True
    """
    if history is None or key is None:
        return None
    turns = history.turns
    later = next((turns[index + 1 :] for index, turn in enumerate(turns) if turn.key == key), ())
    if not later:
        return None
    first = repr(_question(later[0]))
    if len(later) == 1:
        return f"1 later answer still uses this cell's old text: {first}. Re-run its cell to update it."
    questions = f"{first} … {_question(later[-1])!r}"
    return f"{len(later)} later answers still use this cell's old text: {questions}. Re-run their cells to update them."


def existing_conversation(name: str, *, tell: bool | None = None) -> ConversationHistory:
    """Return the conversation of this name; ``tell`` as for :func:`~ipyllm.conversations.history.conversation`."""
    known = {"default", *conversations()}
    if name not in known:
        known.update(saved_names())
    if name not in known:
        raise MagicError(f"There is no conversation {name!r}. {suggest(name, known)}")
    return conversation(name, tell=tell)


def _target(path: str, *, replace: bool) -> Path:
    file_path(path)  # says what is no path
    target = Path(path).expanduser()  # named as it was typed
    if target.exists() and not replace:
        raise MagicError(f"{target} already exists: choose another name, or use --replace.")
    return target


def _question(turn: Turn) -> str:
    text = next((text_of(message) for message in turn.messages if message["role"] == "user"), "")
    return shorten(strip_control_sequences(text), _QUESTION_CHARS)
