"""Export of a conversation as Markdown, JSON, or a notebook whose cells ask the questions again.

Provider keys in the text are masked. :meth:`ConversationHistory.save` and ``load`` use another format.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, get_args

from ipyllm.errors import bad_request
from ipyllm.messages import text_of
from ipyllm.rendering import escape_markdown, styled, to_html, to_markdown
from ipyllm.text.format import count
from ipyllm.text.redact import redact
from ipyllm.text.suggest import suggest
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ipyllm.conversations.history import ConversationHistory, Turn
    from ipyllm.messages import Message

__all__ = ["FORMATS", "Format", "export_conversation"]

Format = Literal["md", "json", "ipynb"]
FORMATS: tuple[str, ...] = get_args(Format)
_TITLES = {"user": "You", "assistant": "Model", "system": "System", "developer": "System", "tool": "Tool"}


def export_conversation(
    history: ConversationHistory, form: str, *, title: str = "Conversation", about: Mapping[int, str] | None = None
) -> str:
    """Return a conversation as the text of a file.

    ``form`` is ``md`` (Markdown to read), ``json`` (messages in the OpenAI format) or ``ipynb`` (a notebook with a cell
    for each question and the answer as its output); others raise LLMError. ``title`` is the heading, and the name of
    the conversation in the notebook's cells. ``about`` has lines about messages, by their index, for Markdown.
    """
    if form == "md":
        return redact(_markdown(history, title, about or {}))
    if form == "json":
        return redact(json.dumps(history.to_messages(), ensure_ascii=False, indent=1, default=str) + "\n")
    if form == "ipynb":
        return redact(_notebook(history, title))
    raise bad_request(f"A conversation cannot be exported as {form!r}. {suggest(form, FORMATS)}")


def _markdown(history: ConversationHistory, title: str, about: Mapping[int, str]) -> str:
    parts = [f"# {title}"]
    for index, message in enumerate(history.to_messages()):
        told = [f"*{escape_markdown(about[index])}*"] if index in about else []
        parts += [f"## {_TITLES[message['role']]}", *told, *_pictures(message), text_of(message)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _pictures(message: Message) -> Iterator[str]:
    content = message.get("content")
    pictures = sum(part.get("type") == "image_url" for part in content) if isinstance(content, list) else 0
    if pictures:
        yield f"*({count(pictures, 'picture')})*"


def _notebook(history: ConversationHistory, title: str) -> str:
    cells = [_cell("markdown", f"# {title}"), _cell("code", "%load_ext ipyllm")]
    system = history.system
    for turn in history.turns:
        cells.append(_question_cell(turn, title, system))
        system = None  # the first cell has set it
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


def _question_cell(turn: Turn, name: str, system: str | None) -> dict[str, Any]:
    """Return a cell that asks the question again, with its answer as output."""
    options = ["--raw", f"-c {_quoted(name)}"]  # braces in a question are not a template
    if turn.model:
        options.append(f"-m {_quoted(turn.model)}")
    if system:
        options.append(f"-s {_quoted(' '.join(system.split()))}")  # a magic's options must be on one line
    question = "\n\n".join(text_of(message) for message in turn.messages if message["role"] == "user")
    cell = _cell("code", f"%%llm {' '.join(options)}\n{question}")
    cell["outputs"] = list(_outputs(turn))
    return cell


def _quoted(word: str) -> str:
    """Quote a word for the line of a magic."""
    if word and not any(char.isspace() or char in "\"'\\" for char in word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _outputs(turn: Turn) -> Iterator[dict[str, Any]]:
    for message in turn.messages:
        text = text_of(message)
        if message["role"] == "assistant" and text:
            data = {
                "text/html": styled(to_html(text)),
                "text/markdown": to_markdown(text),
                "text/plain": strip_control_sequences(text),
            }
            yield {"output_type": "display_data", "data": data, "metadata": {}}


def _cell(kind: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": source}
    return cell | {"execution_count": None, "outputs": []} if kind == "code" else cell
