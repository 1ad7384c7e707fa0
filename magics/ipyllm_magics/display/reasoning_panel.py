"""Folded panel above an answer: the model's reasoning, and the functions it called with their results."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ipyllm.rendering import GrowingCall, reasoning_html, to_html, to_markdown
from ipyllm.rendering.markdown_source import fenced
from ipyllm.text.format import shorten
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from ipyllm.pipeline.waiting import Waiting
    from ipyllm.rendering import GrowingAnswer
    from ipyllm.response import ChatResponse

__all__ = ["DETAILS_AFTER_S", "activity", "panel_html", "panel_markdown", "panel_text", "set_results"]

DETAILS_AFTER_S = 2.0
"""How long a call may wait before the line says what for."""

_MAX_RESULT = 2_000  # characters of a function's result
_MAX_ARGUMENTS = 200  # in the line that is visible while the panel is folded


def activity(answer: GrowingAnswer, elapsed_s: float, waiting: Waiting | None) -> str:
    """Return in one line what happens before the answer: what the model does, or else what the call waits for."""
    if waiting is not None and elapsed_s >= DETAILS_AFTER_S and (answer.calls or not answer.reasoning_words):
        return waiting.line()
    if answer.calls:
        doing = f"calling {shorten(answer.calls[-1].name, _MAX_ARGUMENTS)}"
    elif answer.reasoning_words:
        doing = f"{answer.reasoning_words} words of reasoning"
    else:
        doing = "waiting"
    return f"{doing} · {elapsed_s:.0f} s"


def set_results(answer: GrowingAnswer, response: ChatResponse) -> None:
    """Replace the calls by those that ran, with their results."""
    if response.tool_results:
        answer.calls = [
            GrowingCall(index, ran.call_id, ran.name, ran.arguments, ran.output, ran.error is not None)
            for index, ran in enumerate(response.tool_results)
        ]


def panel_html(answer: GrowingAnswer) -> str:
    """Return the panel as sanitised HTML, or an empty string."""
    panels = [reasoning_html(answer.reasoning.source)]
    for call in answer.calls:
        line, result = _describe(call)
        body = to_html(fenced(result)) if result else ""
        summary = f"<summary><code>{escape(line, quote=False)}</code></summary>"
        panels.append(f'<details class="ipyllm-reasoning ipyllm-tool">{summary}{body}</details>')
    return "".join(panels)


def panel_text(answer: GrowingAnswer) -> str:
    """Return the panel as quoted plain text, or an empty string."""
    parts = [answer.reasoning.source.strip()]
    for call in answer.calls:
        line, result = _describe(call)
        parts.append(f"{line}\n→ {result}" if result else line)
    return "\n\n".join(_quoted(part) for part in parts if part)


def panel_markdown(answer: GrowingAnswer) -> str:
    """Return the panel as quoted markdown, or an empty string."""
    parts = [to_markdown(answer.reasoning.source).strip()]
    for call in answer.calls:
        line, result = _describe(call)
        parts.append(to_markdown(fenced(f"{line}\n→ {result}" if result else line)).strip())
    return "\n\n".join(_quoted(part) for part in parts if part)


def _quoted(text: str) -> str:
    return "> " + text.replace("\n", "\n> ")


def _describe(call: GrowingCall) -> tuple[str, str]:
    name, arguments = shorten(call.name, _MAX_ARGUMENTS), call.arguments
    line = f"{name}({shorten(arguments, _MAX_ARGUMENTS)})"
    if call.output is None:
        return line, ""
    result = shorten(strip_control_sequences(call.output), _MAX_RESULT, fold=False)
    return line, f"failed: {result}" if call.failed else result
