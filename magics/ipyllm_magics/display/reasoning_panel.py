"""What stands folded above an answer: the model's reasoning, and the functions it called with what they returned."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ipyllm.rendering import to_html
from ipyllm.text.terminal import plain

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse

__all__ = ["Aside"]

_MAX_SHOWN = 2_000  # characters of what a function returned
_MAX_ARGUMENTS = 200  # in the line that is seen while it is folded


class Aside:
    """Grows with the answer; ``html`` and ``text`` may be asked for at any time."""

    def __init__(self) -> None:
        self._reasoning: list[str] = []
        self._calls: list[tuple[str, list[str]]] = []
        self._results: list[tuple[str, bool]] = []  # what it returned; whether that is an error

    @property
    def called(self) -> bool:
        """Whether the model has called a function."""
        return bool(self._calls)

    @property
    def state(self) -> str:
        """What the model is doing before it answers."""
        if self._calls:
            return f"calling {plain(self._calls[-1][0])[:_MAX_ARGUMENTS]}"
        words = sum(len(piece.split()) for piece in self._reasoning)
        return f"{words} words of reasoning" if words else "waiting"

    def reasoning(self, piece: str) -> None:
        """Take in reasoning."""
        self._reasoning.append(piece)

    def tool(self, name: str) -> None:
        """Take in the name of a function that is called."""
        self._calls.append((name, []))

    def arguments(self, piece: str) -> None:
        """Take in a piece of the last call's arguments."""
        if self._calls:
            self._calls[-1][1].append(piece)

    def finish(self, response: ChatResponse) -> None:
        """Take in what the functions returned."""
        if response.tool_results:
            self._calls = [(result.name, [result.arguments]) for result in response.tool_results]
            self._results = [(result.output, result.error is not None) for result in response.tool_results]

    @property
    def html(self) -> str:
        """Sanitised HTML; nothing where there is nothing to show."""
        folded = []
        if text := self._thoughts:
            folded.append(f'<details class="ipyllm-reasoning"><summary>Reasoning</summary>{to_html(text)}</details>')
        for place in range(len(self._calls)):
            line, result = self._call(place)
            body = to_html(_fenced(result)) if result else ""
            summary = f"<summary><code>{escape(line, quote=False)}</code></summary>"
            folded.append(f'<details class="ipyllm-reasoning ipyllm-tool">{summary}{body}</details>')
        return "".join(folded)

    @property
    def text(self) -> str:
        """The same for who sees no HTML, quoted."""
        told = [self._thoughts] if self._thoughts else []
        for place in range(len(self._calls)):
            line, result = self._call(place)
            told.append(f"{line}\n→ {result}" if result else line)
        return "\n\n".join("> " + part.replace("\n", "\n> ") for part in told)

    @property
    def _thoughts(self) -> str:
        return "".join(self._reasoning).strip()

    def _call(self, place: int) -> tuple[str, str]:
        name, pieces = self._calls[place]
        arguments = plain("".join(pieces))
        shown = arguments if len(arguments) <= _MAX_ARGUMENTS else arguments[:_MAX_ARGUMENTS] + "…"
        line = " ".join(f"{plain(name)}({shown})".split())
        if place >= len(self._results):
            return line, ""
        output, failed = self._results[place]
        result = plain(output if len(output) <= _MAX_SHOWN else output[:_MAX_SHOWN] + " …")
        return line, f"failed: {result}" if failed else result


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}\n"
