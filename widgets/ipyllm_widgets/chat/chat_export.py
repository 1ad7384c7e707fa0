"""Exports a chat: the files of :mod:`ipyllm.conversations.export`, and a self-contained HTML page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Literal, get_args

from ipyllm.conversations.export import export_conversation
from ipyllm.errors import bad_request
from ipyllm.ledger.ids import made_at
from ipyllm.pipeline.stored_responses import response_to, stored_responses
from ipyllm.rendering import STYLE
from ipyllm.text.redact import redact
from ipyllm.text.suggest import suggest
from ipyllm.user_file import write_file
from ipyllm_widgets.chat.answer_footer import answer_footer
from ipyllm_widgets.chat.static_transcript import message_html

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ipyllm.conversations.history import ConversationHistory

__all__ = ["ExportFormat", "export_chat"]

ExportFormat = Literal["md", "json", "ipynb", "html"]
# Nothing in the page may load or run, whatever the answers contain.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_PAGE_STYLE = "<style>body{max-width:48rem;margin:2rem auto;padding:0 1rem;font:16px/1.5 system-ui,sans-serif}</style>"


def export_chat(
    history: ConversationHistory,
    form: ExportFormat,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "Conversation",
) -> str:
    r"""Return the conversation as text, and write it to ``path`` if one is given. API keys are masked.

    Raises
    ------
    LLMError
        The format does not exist, or the file cannot be written.

    Examples
    --------
    >>> from ipyllm.conversations.history import ConversationHistory
    >>> history = ConversationHistory.from_messages([{"role": "user", "content": "Hello"}])
    >>> export_chat(history, "md", title="demo")
    '# demo\n\n## You\n\nHello\n'
    """
    if form not in get_args(ExportFormat):
        raise bad_request(f"There is no format {form!r}. {suggest(form, get_args(ExportFormat))}")
    if form == "json":
        text = history.to_json()
    elif form == "html":
        text = redact(_page(history, title, _about(history)))
    else:
        text = export_conversation(history, form, title=title, about=_about(history))
    if path is not None:
        write_file(path, text)
    return text


def _about(history: ConversationHistory) -> dict[int, str]:
    """Return a line about each answer, by the index of its message: when it was asked for, and its footer."""
    responses = stored_responses(history.turns)
    at, lines = 0 if history.system is None else 1, {}
    for turn in history.turns:
        at += len(turn.messages)
        asked_at = made_at(turn.call_id or "")
        response = responses.get(turn.call_id or "") or response_to(turn, {})
        day = f"{asked_at.astimezone():%Y-%m-%d %H:%M}" if asked_at else ""
        lines[at - 1] = " · ".join(filter(None, (day, answer_footer(response))))
    return {index: line for index, line in lines.items() if line}


def _page(history: ConversationHistory, title: str, about: Mapping[int, str]) -> str:
    messages = history.to_messages()
    shown = "\n".join(message_html(message, about.get(index, "")) for index, message in enumerate(messages))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n{_PAGE_STYLE}\n{STYLE}\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"{shown}\n</body>\n</html>\n"
    )
