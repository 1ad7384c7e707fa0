"""``ContextExplorer``: the context window filling up, turn by turn."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from ipyllm.conversations.history import ConversationHistory
from ipyllm.conversations.history import conversation as conversation_named
from ipyllm.conversations.tokens import estimate_messages
from ipyllm.conversations.window_steps import turn_sizes, window_steps
from ipyllm.errors import bad_request
from ipyllm.messages import text_of
from ipyllm.registry.models import create_llm_service
from ipyllm.text.format import count, shorten
from ipyllm.validate import validate_int
from ipyllm_widgets import modules
from ipyllm_widgets.teaching.bar_picture import BarPicture, BarRow, Piece, figures_table
from ipyllm_widgets.teaching.server_counts import server_counts
from ipyllm_widgets.teaching.teaching_widget import TeachingWidget

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from ipyllm.conversations.window_steps import WindowStep
    from ipyllm.messages import Message
    from ipyllm.services.base import BaseLLMService

__all__ = ["ContextExplorer"]

_QUESTION_CHARS: Final = 60
_LABEL_CHARS: Final = 22
_SMALLEST: Final = 64
_LARGE: Final = 8192  # what the slider reaches at least
_MOST_TURNS: Final = 60
_LEGEND: Final = (
    ("cross", "system message"),
    ("solid", "earlier turns"),
    ("stripes", "question"),
    ("light", "kept for the answer"),
    ("gone", "left out"),
    ("dots", "same beginning as the request before"),
)


class ContextExplorer(TeachingWidget):
    """What the context window holds at each turn of a conversation: what is sent, left out, shared, and still free.

    Sliders change the size of the window and the room kept for the answer, and say what would have been sent. Nothing
    is asked of a model. Tokens are the upper estimates by which ipyllm trims a conversation; where a call of this
    kernel is in the ledger, the server's own counts stand beside them.

    Parameters
    ----------
    conversation : str, ConversationHistory or list of Message
        A conversation by its name, or the conversation itself. Of a long one, the newest 60 turns are shown.
    model : str or service, optional
        The model whose window is taken; by default, the one that answered last, or the default model.
    window : int, optional
        Tokens of the context window, in place of the model's.
    reserve : int, optional
        Tokens of it that are kept for the answer. By default 1,024, and at most half of the window, as in a chat.
    turn : int, optional
        The turn that is looked at, from 1; by default, the last.

    Attributes
    ----------
    steps : DataFrame
        The figures for each turn, with the current settings.

    Raises
    ------
    LLMError
        ``bad_request``: the conversation is empty, the window is unknown, or a value is out of its range.

    Examples
    --------
    >>> from ipyllm import ContextExplorer, ConversationHistory
    >>> history = ConversationHistory()
    >>> for text in ("Who was Ada Lovelace?", "What did she write?", "For which machine?"):
    ...     history.add_message("user", text)
    ...     history.add_message("assistant", "A long answer. " * 10)
    >>> explorer = ContextExplorer(history, window=160, reserve=32)
    >>> explorer.steps["left_out_turns"].to_list()
    [0, 0, 1]
    """

    _esm = modules.script("teaching/context_explorer.js")
    _css = modules.styles("widget.css", "teaching/teaching.css")

    def __init__(
        self,
        conversation: str | ConversationHistory | Iterable[Message] = "default",
        model: str | BaseLLMService | None = None,
        *,
        window: int | None = None,
        reserve: int | None = None,
        turn: int | None = None,
    ) -> None:
        history = _history_of(conversation)
        turns = history.turns
        if not turns:
            raise bad_request("The conversation has no turns yet: ask something first.")
        self._limits = {"max_tokens": history.max_tokens, "max_messages": history.max_messages}
        self._system, self._sizes = _system_tokens(history.system), turn_sizes(turns)
        self._earlier = max(0, len(turns) - _MOST_TURNS)
        turns = turns[self._earlier :]
        self._questions = [shorten(text_of(each.messages[0]), _QUESTION_CHARS) for each in turns]
        answered_by = next((each.model for each in reversed(turns) if each.model), None)
        if isinstance(model, str) or model is None:
            model = create_llm_service(model or answered_by)
        self._service = model
        if window is None and (window := self._service.context_window()) is None:
            raise bad_request(
                f"The context window of {self._service.full_name} is not known: give window=8192, say.",
                model=self._service.full_name,
            )
        window = validate_int("window", window, _SMALLEST)
        self._largest = max(window, _LARGE)
        reserve = min(1024, window // 2) if reserve is None else reserve
        self._counted = server_counts(history.name, [text_of(each.messages[0]) for each in turns])
        super().__init__({"window": window, "reserve": reserve, "turn": len(self._sizes) if turn is None else turn})

    def __repr__(self) -> str:
        return f"ContextExplorer({count(len(self._sizes), 'turn')}, {self._service.full_name})"

    @property
    def steps(self) -> pd.DataFrame:
        """A row for each turn: ``question`` (its text), and in tokens what its request held.

        ``system``, ``history``, ``question_tokens``, ``sent`` (their sum), ``left_out`` with ``left_out_turns``,
        ``shared`` (beginning as of the request before), ``free``; and what the server counted, null where the ledger
        has no call: ``counted_input``, ``counted_cached``.
        """
        import pandas as pd

        rows = [
            (
                *(question, step.system, step.history, step.question, step.sent, step.left_out, step.first),
                *(step.shared, step.free, counted.input_tokens, counted.cached_tokens),
            )
            for question, step, counted in zip(self._questions, self._steps(), self._counted, strict=True)
        ]
        names = ("question", "system", "history", "question_tokens", "sent", "left_out", "left_out_turns")
        table = pd.DataFrame(rows, columns=[*names, "shared", "free", "counted_input", "counted_cached"])
        return table.astype({"counted_input": "Int64", "counted_cached": "Int64"})

    def _steps(self) -> list[WindowStep]:
        window, reserve = self._settings["window"], self._settings["reserve"]
        return window_steps(self._system, self._sizes, window, reserve, **self._limits)[self._earlier :]

    def _payload(self) -> dict[str, Any]:
        return {
            "model": self._service.full_name,
            "system": self._system,
            "turns": [asdict(size) for size in self._sizes],
            "questions": self._questions,
            "counted": [list(each) for each in self._counted],
            "earlier": self._earlier,
            "largest": self._largest,
            "maxTokens": self._limits["max_tokens"],
            "maxMessages": self._limits["max_messages"],
        }

    def _checked(self, settings: dict[str, Any]) -> dict[str, Any]:
        window = validate_int("window", settings["window"], _SMALLEST)
        reserve = validate_int("reserve", settings["reserve"], 0)
        turn = validate_int("turn", settings["turn"], 1)
        if window > self._largest:
            raise bad_request(f"window must be at most {self._largest:,}, not {window:,}.")
        if reserve >= window:
            raise bad_request(f"reserve must be less than the window of {window:,} tokens, not {reserve:,}.")
        if turn <= self._earlier:
            raise bad_request(f"turn must be above {self._earlier}: the newest {_MOST_TURNS} turns are shown.")
        if turn > len(self._sizes):
            raise bad_request(f"turn must be at most {len(self._sizes)}, the number of turns, not {turn}.")
        return {"window": window, "reserve": reserve, "turn": turn}

    def _picture(self) -> BarPicture:
        window, reserve = self._settings["window"], self._settings["reserve"]
        steps = self._steps()
        scale = 1 / max(window + step.left_out for step in steps)
        rows = []
        for number, (question, step) in enumerate(zip(self._questions, steps, strict=True), self._earlier + 1):
            lengths = (("cross", step.system), ("solid", step.history), ("stripes", step.question))
            pieces, start = [], 0.0
            for tone, tokens in lengths:
                pieces.append(Piece(tone, start, tokens * scale))
                start += tokens * scale
            pieces.append(Piece("light", (window - reserve) * scale, reserve * scale))
            pieces.append(Piece("gone", window * scale, step.left_out * scale))
            pieces.append(Piece("dots", 0, step.shared * scale, is_thin=True))
            rows.append(BarRow(f"{number}. {shorten(question, _LABEL_CHARS)}", pieces, _beside(step)))
        title = f"Context window of {window:,} tokens, {reserve:,} kept for the answer · {self._service.full_name}"
        return BarPicture(title, tuple(rows), _LEGEND, edge=window * scale)

    def _table(self) -> str:
        heads = ("question", "sent", "left out", "shared", "left for the answer", "server counted")
        rows = (
            (question, f"{step.sent:,}", _left_out(step), f"{step.shared:,}", f"{step.free:,}", counted.words())
            for question, step, counted in zip(self._questions, self._steps(), self._counted, strict=True)
        )
        return figures_table(heads, rows, "Tokens, as upper estimates but for those that the server counted.")


def _history_of(conversation: str | ConversationHistory | Iterable[Message]) -> ConversationHistory:
    if isinstance(conversation, str):
        return conversation_named(conversation)
    if isinstance(conversation, ConversationHistory):
        return conversation
    return ConversationHistory.from_messages(conversation)


def _system_tokens(system: str | None) -> int:
    return 0 if system is None else estimate_messages([{"role": "system", "content": system}])


def _beside(step: WindowStep) -> str:
    if step.free < 0:
        return f"{-step.free:,} too many"
    return f"{step.sent:,} sent, {step.free:,} free"


def _left_out(step: WindowStep) -> str:
    return f"{step.left_out:,} ({count(step.first, 'turn')})" if step.first else "–"
