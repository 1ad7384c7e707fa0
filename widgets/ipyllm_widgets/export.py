"""A conversation as a file to keep or to pass on: Markdown, JSON, a notebook, or a page by itself."""

from __future__ import annotations

import json
import os
import shlex
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ipyllm.errors import LLMError
from ipyllm.redact import redact
from ipyllm.rendering import STYLE, plain, to_html
from ipyllm.request import text_of
from ipyllm_widgets.transcript import message_html

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipyllm.history import ConversationHistory, Turn

__all__ = ["Format", "export"]

Format = Literal["md", "json", "ipynb", "html"]
_TITLES = {"user": "You", "assistant": "Model", "system": "System", "tool": "Tool"}
# Nothing in the page may load or run, whatever the answers hold.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_PAGE_STYLE = "<style>body{max-width:48rem;margin:2rem auto;padding:0 1rem;font:16px/1.5 system-ui,sans-serif}</style>"


def export(
    history: ConversationHistory,
    form: Format,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "Conversation",
    model: str | None = None,
) -> str:
    """Return the conversation as text, and write it to ``path`` if one is given. Keys in it are masked.

    Raises
    ------
    LLMError
        There is no such format, or the file cannot be written.

    Examples
    --------
    >>> from ipyllm.history import ConversationHistory
    >>> history = ConversationHistory.from_messages([{"role": "user", "content": "Hello"}])
    >>> print(export(history, "md", title="demo"))
    # demo
    <BLANKLINE>
    ## You
    <BLANKLINE>
    Hello
    <BLANKLINE>
    """
    if form not in get_args(Format):
        raise LLMError(
            f"There is no format {form!r}; there are: {', '.join(get_args(Format))}.", category="bad_request"
        )
    if form == "json":
        text = history.to_json()
    elif form == "md":
        text = redact(_markdown(history, title))
    elif form == "ipynb":
        text = redact(_notebook(history, title, model))
    else:
        text = redact(_page(history, title))
    if path is not None:
        target = Path(path).expanduser()
        try:
            target.write_text(text, encoding="utf-8", errors="replace")
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise LLMError(
                f"The file {os.fspath(path)!r} cannot be written: {reason}.", category="bad_request"
            ) from None
    return text


def _markdown(history: ConversationHistory, title: str) -> str:
    parts = [f"# {title}"]
    for message in history.to_messages():
        images = sum(part.get("type") == "image_url" for part in message.get("content") or () if isinstance(part, dict))
        note = [f"*({images} image{'' if images == 1 else 's'})*"] if images else []
        parts += [f"## {_TITLES[message['role']]}", *note, text_of(message)]
    return "\n\n".join(parts) + "\n"


def _page(history: ConversationHistory, title: str) -> str:
    shown = "\n".join(map(message_html, history.to_messages()))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n{_PAGE_STYLE}\n{STYLE}\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"{shown}\n</body>\n</html>\n"
    )


def _notebook(history: ConversationHistory, title: str, model: str | None) -> str:
    cells = [_cell("markdown", f"# {title}"), _cell("code", "%load_ext ipyllm")]
    system = history.system
    for turn in history.turns:
        cells.append(_asking(turn, turn.model or model, system))
        system = None  # the conversation has it after the first question
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def _asking(turn: Turn, model: str | None, system: str | None) -> dict[str, Any]:
    """Return a cell that asks the question again, with the answer it had."""
    options = ["--raw"]  # what looks like a template in a question was none
    if model:
        options += ["-m", shlex.quote(model)]
    if system:
        options += ["-s", shlex.quote(" ".join(system.split()))]  # the line of a magic has no line ends
    question = "\n\n".join(text_of(message) for message in turn.messages if message["role"] == "user")
    cell = _cell("code", f"%%llm {' '.join(options)}\n{question}")
    cell["outputs"] = list(_outputs(turn))
    return cell


def _outputs(turn: Turn) -> Iterator[dict[str, Any]]:
    for message in turn.messages:
        text = text_of(message)
        if message["role"] == "assistant" and text:
            data = {"text/html": STYLE + to_html(text), "text/plain": plain(text)}
            yield {"output_type": "display_data", "data": data, "metadata": {}}


def _cell(kind: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": source}
    return cell | {"execution_count": None, "outputs": []} if kind == "code" else cell
