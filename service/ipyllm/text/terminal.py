r"""Removes control sequences from text for a terminal or ``text/plain``.

Escape sequences in an answer could clear the screen, rewrite lines above, set the clipboard or the window's title. Only
text, new lines and tabs remain.
"""

from __future__ import annotations

import re

__all__ = ["TerminalFilter", "encodable", "strip_control_sequences"]

_IN_ASCII = {"…": "...", "→": "->", "·": "|", "≥": ">=", "×": "x", "─": "-", "–": "-", "—": "-"}

# ECMA-48. A string (OSC, DCS, SOS, PM, APC) ends with BEL or ST; here also at a line's end or after 1000
# characters, because a string that never ends would remove the rest of the answer.
_STRING = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])"
_STRING_BODY = r"[^\x07\x1b\x9c\n]{0,1000}"
_CSI = r"(?:\x1b\[|\x9b)"
_CONTROL = re.compile(
    rf"{_STRING}{_STRING_BODY}(?:\x07|\x9c|\x1b\\)?"
    rf"|{_CSI}[0-?]{{0,100}}[ -/]{{0,10}}[@-~]?"
    r"|\x1b[ -/]{0,10}[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_UNFINISHED = re.compile(rf"(?:{_STRING}{_STRING_BODY}\x1b?|{_CSI}[0-?]{{0,100}}[ -/]{{0,10}}|\x1b[ -/]{{0,10}})\Z")


class TerminalFilter:
    """Removes control sequences from text that arrives in pieces, also where a piece ends within one."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return the text that may be printed now. The start of a sequence is held until its end is known."""
        text = self._held + piece
        unfinished = _UNFINISHED.search(text)
        end = unfinished.start() if unfinished else len(text)
        self._held = text[end:]
        return _CONTROL.sub("", text[:end])


def strip_control_sequences(text: str) -> str:
    r"""Return ``text`` without control characters other than ``\n`` and ``\t``, and without their sequences."""
    return _CONTROL.sub("", text)


def encodable(text: str, encoding: str | None) -> str:
    """Return ``text`` with what an encoding lacks replaced: our own signs by similar ones, others by ``?``.

    Examples
    --------
    >>> encodable("2 calls · Grüße → π", "ascii"), encodable("Grüße → π", "utf-8")
    ('2 calls | Gr??e -> ?', 'Grüße → π')
    """
    if encoding is None:
        return text
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        similar = "".join(_in_encoding(char, encoding) for char in text)
        return similar.encode(encoding, "replace").decode(encoding)
    except LookupError:  # no such encoding
        pass
    return text


def _in_encoding(char: str, encoding: str) -> str:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return _IN_ASCII.get(char, char)
    return char
