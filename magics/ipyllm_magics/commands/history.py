"""``%llm_history``: conversations as a person reads, undoes, forks, keeps and passes them on."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ipyllm.conversations.history import ConversationHistory, conversation, conversations
from ipyllm.messages import text_of
from ipyllm.text.terminal import plain
from ipyllm_magics.command_line.converters import did_you_mean
from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    import pandas as pd

    from ipyllm.conversations.history import Turn

__all__ = [
    "Transcript",
    "clear",
    "existing",
    "export",
    "fork",
    "listing",
    "load",
    "outdated",
    "save",
    "show",
    "undo",
]

_SHORT = 60  # characters of a question in a sentence or a table


class Transcript:
    """A conversation, shown as HTML in a notebook and as text elsewhere."""

    def __init__(self, name: str, history: ConversationHistory) -> None:
        self._name = name
        self._messages = history.get_messages()

    def __repr__(self) -> str:
        if not self._messages:
            return f"The conversation {self._name!r} is empty."
        return "\n\n".join(f"{message['role']}: {plain(text_of(message))}" for message in self._messages)

    def _repr_html_(self) -> str:
        if not self._messages:
            return f"<p>The conversation <b>{escape(self._name)}</b> is empty.</p>"
        from ipyllm.rendering import STYLE, to_html

        turns = (
            f'<div class="ipyllm-turn"><div class="ipyllm-footer">{escape(message["role"])}</div>'
            f"{to_html(text_of(message))}</div>"
            for message in self._messages
        )
        return STYLE + "".join(turns)


def show(name: str) -> Transcript:
    """Return the conversation for display."""
    return Transcript(name, existing(name))


def listing() -> pd.DataFrame:
    """Return one row for every conversation of this kernel."""
    import pandas as pd

    from ipyllm.conversations.tokens import estimate_messages
    from ipyllm_magics.display.untruncated_frame import WideFrame

    rows = [
        {
            "conversation": name,
            "turns": len(history.turns),
            "messages": len(history),
            "estimated_tokens": estimate_messages(history.to_messages()),
            "last_question": _question(history.turns[-1]) if history.turns else "",
        }
        for name, history in sorted({"default": conversation(), **conversations()}.items())
    ]
    frame = WideFrame(rows)
    assert isinstance(frame, pd.DataFrame)
    return frame


def clear(name: str) -> str:
    """Forget the conversation."""
    count = len(existing(name))
    conversation(name).clear()
    return f"Forgot the {count} messages of the conversation {name!r}."


def undo(name: str, n: int) -> str:
    """Take the last turns back."""
    gone = existing(name).undo(n)
    if not gone:
        return f"There was nothing to undo: the conversation {name!r} has no turns."
    told = ", ".join(repr(_question(turn)) for turn in gone)
    return f"Took back {_turns(len(gone))} of {name!r}: {told}."


def fork(name: str, new: str) -> str:
    """Copy the conversation under another name."""
    if new == name:
        raise MagicError(f"A fork of {name!r} needs a name of its own.")
    copied = existing(name).fork(new)
    return f"{new!r} goes its own way from here, with the {len(copied)} messages of {name!r}: %%llm -c {new}"


def save(name: str, path: str, *, replace: bool) -> str:
    """Save the conversation for ``load``."""
    target = _target(path, replace=replace)
    existing(name).save(target)
    return f"Saved the {len(conversation(name))} messages of {name!r} to {target}."


def load(name: str, path: str, *, replace: bool) -> str:
    """Read a saved conversation."""
    loaded = ConversationHistory.load(Path(path).expanduser())
    here = conversation(name)
    if len(here) and not replace:
        raise MagicError(
            f"The conversation {name!r} has {len(here)} messages already: give -c and another name, or --replace."
        )
    here.restore(loaded)
    return f"Loaded {len(here)} messages into {name!r}."


def export(name: str, path: str, *, replace: bool) -> str:
    """Write the conversation for others to read."""
    from ipyllm.conversations.export import FORMATS, export_conversation

    form = Path(path).suffix.removeprefix(".").lower()
    if form not in FORMATS:
        near = did_you_mean(form, FORMATS)
        raise MagicError(
            f"%llm_history export goes by the file's ending, and {path!r} ends in none of "
            f"{', '.join('.' + one for one in FORMATS)}.{near}"
        )
    text = export_conversation(existing(name), form, title=name)
    target = _target(path, replace=replace)
    try:
        target.write_text(text, encoding="utf-8", errors="replace")
    except OSError as exc:
        raise MagicError(f"{target} cannot be written: {exc.strerror or exc}.") from None
    return f"Exported the {len(conversation(name))} messages of {name!r} to {target}."


def outdated(history: ConversationHistory | None, key: str | None) -> str | None:
    """Say what a cell's new answer leaves behind: later turns that were asked upon its old one.

    Examples
    --------
    >>> from ipyllm.conversations.history import Turn
    >>> history = ConversationHistory()
    >>> for key, text in (("a#1", "Name a city."), ("b#1", "Where is it?")):
    ...     history.put_turn(Turn(({"role": "user", "content": text},), key))
    >>> outdated(history, "a#1")
    "1 later turn answered upon what this cell said before: 'Where is it?'; run its cell again to bring it up to date."
    >>> outdated(history, "b#1") is None
    True
    """
    if history is None or key is None:
        return None
    turns = history.turns
    later = next((turns[place + 1 :] for place, turn in enumerate(turns) if turn.key == key), ())
    if not later:
        return None
    it, cell = ("it", "its cell") if len(later) == 1 else ("them", "their cells")
    told = repr(_question(later[0])) + (f" … {_question(later[-1])!r}" if len(later) > 1 else "")
    return (
        f"{len(later)} later turn{'' if len(later) == 1 else 's'} answered upon what this cell said before: {told}; "
        f"run {cell} again to bring {it} up to date."
    )


def existing(name: str) -> ConversationHistory:
    """Return the conversation of this name.

    Raises
    ------
    MagicError
        There is none; the sentence names those there are.
    """
    known = {"default", *conversations()}
    if name not in known:
        raise MagicError(f"There is no conversation {name!r}; there are: {', '.join(sorted(known))}.")
    return conversation(name)


def _target(path: str, *, replace: bool) -> Path:
    target = Path(path).expanduser()
    if target.exists() and not replace:
        raise MagicError(f"{target} is there already: give another name, or --replace.")
    return target


def _question(turn: Turn) -> str:
    text = next((text_of(message) for message in turn.messages if message["role"] == "user"), "")
    text = " ".join(plain(text).split())
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"


def _turns(count: int) -> str:
    return "one turn" if count == 1 else f"{count} turns"
