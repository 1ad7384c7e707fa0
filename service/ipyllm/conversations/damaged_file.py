"""Reads what it can of a saved conversation whose file is damaged: the turns that are whole."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from ipyllm.atomic_file import atomic_write
from ipyllm.text.format import count, join_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["keep_copy", "recover"]

_FIELDS = ("version", "max_messages", "max_tokens", "system")
_NAMED = 3


def recover(data: bytes, is_valid: Callable[[dict[str, Any]], bool]) -> tuple[dict[str, Any], str] | None:
    """Return the document in a file, as :mod:`ipyllm.conversations.transcript` writes it, and what is missing.

    ``is_valid`` tells whether a document is a conversation. None: nothing can be read.
    """
    text = data.decode(errors="replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not is_valid(document):
        return _recover_turns(text, is_valid)
    turns = [str(n) for n, turn in enumerate(document["turns"], 1) if "\ufffd" in json.dumps(turn, ensure_ascii=False)]
    where = f" (turn {join_names(turns, limit=_NAMED)})" if turns else ""
    return document, f"bytes that are no text are shown as \ufffd{where}"


def _recover_turns(text: str, is_valid: Callable[[dict[str, Any]], bool]) -> tuple[dict[str, Any], str] | None:
    header = text.partition('\n "turns": [')[0]
    document: dict[str, Any] = {name: _value_at(header, f'\n "{name}": ') for name in _FIELDS}
    document |= {"format": "ipyllm-conversation", "version": document["version"] or 1, "turns": []}
    if not is_valid(document):
        document |= dict.fromkeys(_FIELDS) | {"version": 1}
    keys: set[str] = set()  # of which each turn has its own
    # Line breaks in texts are escaped, so a line like this is where a turn begins.
    for part in re.split(r"^  \{$", text, flags=re.MULTILINE)[1:]:
        turn = _value_at("{" + part, "")
        # By itself: to check the turns before it each time would take hours, of a file with many.
        if turn is None or not is_valid({"format": document["format"], "version": 1, "turns": [turn]}):
            continue
        key = turn.get("key")
        if key is None or key not in keys:
            keys.add(key)
            document["turns"].append(turn)
    n_turns = max(len(re.findall(r'^   "messages": \[', text, flags=re.MULTILINE)), len(document["turns"]))
    if not document["turns"]:
        return None
    return document, f"{len(document['turns']):,} of {count(n_turns, 'turn')} could be read"


def _value_at(text: str, name: str) -> Any:
    """Return the JSON value after ``name``; None if there is none."""
    _, found, rest = text.partition(name) if name else ("", True, text)
    try:
        return json.JSONDecoder().raw_decode(rest)[0] if found else None
    except (ValueError, RecursionError):
        return None


def keep_copy(path: Path, data: bytes) -> str:
    """Copy a damaged file, which a save may replace; return where it is, as a sentence."""
    copy = path.with_name(f"{path.name}.corrupt-{hashlib.sha256(data).hexdigest()[:12]}")
    try:
        with atomic_write(copy) as file:
            file.write(data)
    except (OSError, ValueError):
        return "Save under another name, to keep the damaged file."
    return f"A copy of the damaged file was kept as {copy.name}."
