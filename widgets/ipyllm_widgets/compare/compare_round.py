"""One question of a comparison widget with the answers to it, as the page and the static output show them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.rendering import (
    columns_html,
    columns_markdown,
    columns_text,
    escape_markdown,
    reasoning_html,
    to_html,
)
from ipyllm.text.format import count, shorten
from ipyllm.text.surrogates import replace_surrogates
from ipyllm_widgets.attachments.files import as_sent, attached_files, question_text
from ipyllm_widgets.attachments.images import image_urls
from ipyllm_widgets.live_answer import LiveAnswer, parts_of, waiting_payload
from ipyllm_widgets.static_output import StaticContent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.comparison.comparison import Comparison
    from ipyllm.messages import Message
    from ipyllm.rendering import Column
    from ipyllm.response import ChatResponse

__all__ = ["CompareRound"]

_MAX_PROMPT_CHARS = 4_000  # a longer question is sent in part
_EXCERPT_CHARS = 1_200  # of a longer question
_TITLE_CHARS = 120  # of the question above the static output


@dataclass
class CompareRound:
    """A question, and the answers of all arms. The channel's lock guards it.

    Parameters
    ----------
    number : int
        Of the question, from 1.
    question : Message
    comparison : Comparison
    names : sequence of str
        Names of the compared models in the widget, in the order of the arms: they tell whose history an answer is.
    follows : bool
        Whether the models were sent their earlier answers.
    notes : sequence of str
        What to know about each answer, in the order of the arms.
    note : str
        What to know about all answers.
    has_new_letters : bool
        Whether the models of a blind conversation were shuffled anew, because they had changed.
    """

    number: int
    question: Message
    comparison: Comparison
    names: Sequence[str]
    follows: bool
    notes: Sequence[str]
    note: str = ""
    has_new_letters: bool = False
    answers: list[LiveAnswer] = field(init=False)
    parts: dict[str, dict[str, Any]] = field(init=False, default_factory=dict)
    """Of answers that have ended, by name; those that came from elsewhere are added when they are shown."""

    def __post_init__(self) -> None:
        self.answers = [self._live_answer(index) for index in range(len(self.comparison.arms))]
        self._asked_again = 0
        self._messages: dict[str, tuple[ChatResponse, Sequence[Message]]] = {}  # with the answer, by the model's name

    def _live_answer(self, index: int, suffix: str = "") -> LiveAnswer:
        name = f"{self.number}-{self.comparison.arms[index].mark}{suffix}"
        # Whether a model reasons, and how, could reveal it.
        return LiveAnswer(name, partial(self.comparison.waiting, index), hides_reasoning=self.comparison.names_hidden)

    def renew_answer(self, index: int) -> LiveAnswer:
        """Put an answer that begins anew in the place of the one at this index."""
        self._asked_again += 1
        self.answers[index] = answer = self._live_answer(index, f".{self._asked_again}")
        return answer

    def has_answer(self, index: int) -> bool:
        """Return whether the arm at this index has answered, if only in part."""
        response = self.comparison.responses[index]
        return response is not None and bool(response.content or response.status == "ok")

    def index_of(self, mark: str) -> int:
        """Return the index of the answer with this mark."""
        for index, arm in enumerate(self.comparison.arms):
            if arm.mark == mark:
                return index
        raise LLMError(f"There is no answer {mark!r}.", category="not_found")

    def text(self, mark: str | None = None) -> str:
        """Return the question, or the Markdown of the answer with this mark."""
        if mark is None:
            return question_text(self.question)
        index = self.index_of(mark)
        return self.comparison.column(index, render=False).text or self.answers[index].source("text")

    def messages_of(self, name: str) -> Sequence[Message] | None:
        """Return the question and the answer of the model with this name; None without an answer.

        It is the same object as long as the answer is, so that its tokens are counted once.
        """
        if name not in self.names:
            return None
        response = self.comparison.responses[self.names.index(name)]
        if response is None or not response.content:
            return None
        kept = self._messages.get(name)
        if kept is None or kept[0] is not response:
            kept = self._messages[name] = response, (as_sent(self.question), response.as_message())
        return kept[1]

    # ---- what is shown -------------------------------------------------------------------------------

    def turns(self, live: dict[str, LiveAnswer], below: str) -> list[dict[str, Any]]:
        """Return the payloads of the question and of its answers.

        ``live`` are the running ones, by name, and ``below`` is the note that stands under all of them.
        """
        columns = [self._column_payload(index, live) for index in range(len(self.answers))]
        text, comparison = self.text(), self.comparison
        is_long = len(text) > _MAX_PROMPT_CHARS
        question = {
            "id": f"question-{self.number}",
            "question": self.number,
            "text": replace_surrogates(f"{text[:_EXCERPT_CHARS]} …" if is_long else text),
            "chars": len(text) if is_long else 0,
            "images": image_urls(self.question),
            "files": [file._asdict() for file in attached_files(self.question)],
            "follows": self.follows,
            "newLetters": self.has_new_letters,
            "columns": [column["id"] for column in columns],
            "vote": comparison.vote_cast,
            "hidden": comparison.names_hidden,
            "status": "",
            "footer": below,
            "parts": {},
        }
        return [question, *columns]

    def _column_payload(self, index: int, live: dict[str, LiveAnswer]) -> dict[str, Any]:
        answer, column = self.answers[index], self.comparison.column(index, render=False)
        response = self.comparison.responses[index]
        payload: dict[str, Any] = {
            "id": answer.name,
            "mark": column.mark,
            "label": column.label,
            "status": "running" if response is None or answer.name in live else response.status,
            "footer": "" if column.running else column.footer,
            "note": self.note_on(index),
            "error": column.error or None,
            "preferred": column.preferred,
            "waiting": waiting_payload(answer.waiting) if answer.name in live else None,
        }
        if response is not None and answer.name not in live:
            payload["parts"] = self._shown_parts(answer.name, response)
        return payload

    def _shown_parts(self, name: str, response: ChatResponse) -> dict[str, Any]:
        parts = self.parts.get(name)
        if parts is None:
            parts = self.parts[name] = parts_of(response.reasoning, response.content)
        hidden = {"reasoning"} if self.comparison.names_hidden else set()
        return {part: shown for part, shown in parts.items() if part not in hidden}

    def note_on(self, index: int) -> str:
        """Return what to know about the answer at this index; nothing while it could tell the model."""
        return "" if self.comparison.names_hidden else self.notes[index]

    def notes_below(self) -> list[str]:
        """Return what to know about all answers."""
        note = "" if self.comparison.names_hidden else self.note  # it may name a model
        return [*filter(None, (note,)), *self.comparison.notes]

    def static_content(self, below: str) -> StaticContent:
        """Return the round for readers without a kernel, with the note ``below``."""
        columns = [
            _incomplete_column(column, answer) if column.running else column
            for column, answer in zip(self.comparison.columns(), self.answers, strict=True)
        ]
        noted = [
            replace(column, footer=" · ".join(filter(None, (column.footer, self.note_on(index)))))
            for index, column in enumerate(columns)
        ]
        images = len(image_urls(self.question))
        named = [file.name for file in attached_files(self.question)]
        prompt = " · ".join(filter(None, (self.text(), count(images, "image") if images else "", *named)))
        title = escape(shorten(prompt, _TITLE_CHARS))
        html = (
            f'<details class="ipyllm-transcript" open><summary>{title}</summary>{columns_html(noted, below)}</details>'
        )
        return StaticContent(
            html,
            f"{prompt}\n\n{columns_text(noted, below)}",
            f"*{escape_markdown(prompt)}*\n\n{columns_markdown(noted, below)}",
        )


def _incomplete_column(column: Column, answer: LiveAnswer) -> Column:
    text = answer.source("text")
    html = reasoning_html(answer.source("reasoning")) + to_html(text)
    error = "The answer was incomplete when the notebook was saved."
    return replace(column, html=html, text=text, footer="", error=error, running=False)
