"""Controller of a comparison: the arms, the streaming answers, the votes and the ranking."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from ipyllm.comparison.comparison import Comparison
from ipyllm.errors import LLMError, bad_request
from ipyllm.registry.models import common_efforts, create_llm_service
from ipyllm.rendering import (
    columns_html,
    columns_markdown,
    columns_text,
    escape_markdown,
    reasoning_html,
    to_html,
)
from ipyllm.request import Provenance
from ipyllm.text.format import shorten
from ipyllm_widgets.compare.vote_ranking import ranking_html
from ipyllm_widgets.controller import Controller
from ipyllm_widgets.live_answer import LiveAnswer, waiting_payload
from ipyllm_widgets.static_output import StaticContent
from ipyllm_widgets.widget_parameters import validate_params

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ipyllm.rendering import Column
    from ipyllm.services.base import BaseLLMService
    from ipyllm_widgets.message_channel import MessageChannel

__all__ = ["ArmSettings", "CompareController", "CompareSettings"]

_MIN_ARMS = 2
_MAX_PROMPT_CHARS = 4_000  # a longer question is sent in part
_EXCERPT_CHARS = 1_200  # of a longer question
_TITLE_CHARS = 120  # of the question above the static output


@dataclass(frozen=True)
class ArmSettings:
    """One compared model with its own parameters."""

    model: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def service(self, shared: Mapping[str, Any]) -> BaseLLMService:
        """Create the service; its own parameters override the shared ones."""
        return create_llm_service(self.model, **{**shared, **self.params})


@dataclass(frozen=True)
class CompareSettings:
    """Settings of the next question."""

    arms: list[ArmSettings]
    params: dict[str, Any] = field(default_factory=dict)
    system: str = ""
    blind: bool = False

    def with_changes(self, changes: Mapping[str, Any]) -> CompareSettings:
        """Return these settings with ``changes``.

        Raises
        ------
        LLMError
            A model does not exist, or a parameter is invalid.
        """
        arms = _validate_arms(changes["arms"]) if "arms" in changes else self.arms
        params = validate_params(changes["params"]) if "params" in changes else self.params
        for arm in arms:
            arm.service(params)
        system, blind = changes.get("system", self.system), changes.get("blind", self.blind)
        return CompareSettings(arms, dict(params), str(system or ""), bool(blind))


class CompareController(Controller):
    """Asks several models the same question at once, one question after another.

    Parameters
    ----------
    settings : CompareSettings
        Settings of the next question.
    channel, on_error
        As for :class:`Controller`.
    """

    def __init__(
        self, settings: CompareSettings, channel: MessageChannel, on_error: Callable[[Exception], None]
    ) -> None:
        super().__init__(channel, on_error)
        self.settings = settings
        self.comparison: Comparison | None = None
        self._answers: list[LiveAnswer] = []
        self._parts: dict[str, dict[str, Any]] = {}  # of finished answers, by name
        self._count = 0
        self._ranking = ""
        self._retirement = ""

    # ---- commands -------------------------------------------------------------------------

    def ask(self, prompt: str) -> Comparison:
        """Ask all models, and return at once.

        Raises
        ------
        LLMError
            An answer is still streaming, the prompt is empty, or a model cannot be asked. Nothing was sent.
        """
        if not isinstance(prompt, str):
            raise bad_request(f"A question must be a string, not {type(prompt).__name__}.")
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            settings = self.settings
            if len(settings.arms) < _MIN_ARMS:
                raise bad_request("There is nothing to compare: choose at least two models.")
            services = [arm.service(settings.params) for arm in settings.arms]
            retirement = " ".join(note for service in services if (note := service.retirement_note()) is not None)
            comparison = Comparison(
                prompt,
                services,
                system=settings.system or None,
                provenance=Provenance(origin="widget"),
                blind=settings.blind,
            )
            self._count += 1
            answers = [
                LiveAnswer(f"{self._count}-{arm.mark}", partial(comparison.waiting, index))
                for index, arm in enumerate(comparison.arms)
            ]
            self.comparison, self._answers, self._parts = comparison, answers, {}
            self._retirement = retirement
            self._begin(answers)
            self._call = comparison
            try:
                comparison.start(lambda index, event: self._receive(answers[index], event))
            except BaseException:  # an interrupt: requests that were not sent would never end
                self.comparison, self._answers = None, []
                self._end()
                raise
            finally:
                self._publish()
        self.refresh()  # a notebook that is saved now contains the question
        return comparison

    def stop(self, mark: str | None = None, question: int | None = None) -> None:
        """Stop the running answers, or the one with this mark, and keep their text so far.

        Parameters
        ----------
        question : int, optional
            Number of the question; answers to any other are not stopped.
        """
        comparison = self.comparison
        if comparison is None or question not in {None, self._count}:
            return
        if mark is None:
            comparison.cancel()
            return
        comparison.cancel_arm(self._index(mark))

    def _index(self, mark: str) -> int:
        assert self.comparison is not None
        for index, arm in enumerate(self.comparison.arms):
            if arm.mark == mark:
                return index
        raise LLMError(f"There is no answer {mark!r}.", category="not_found")

    def vote(self, which: str, question: int | None = None) -> str:
        """Store in the ledger which answer is better; hidden names are shown from then on.

        Parameters
        ----------
        which : str
            As for :meth:`ipyllm.Comparison.vote`.
        question : int, optional
            Number of the question; by default the last.

        Raises
        ------
        LLMError
            Nothing was asked, another question was asked since, an answer is still streaming, or ``which`` is unknown.
        """
        self._wait_until_rendered()
        with self._channel.lock:
            if question not in {None, self._count}:
                raise bad_request(
                    "The vote was not stored, because another question was asked: vote on the answers shown now."
                )
            if self.comparison is None or self.running:
                raise bad_request("Vote when all answers have ended.")
            outcome = self.comparison.outcome(which)
            if outcome == self.comparison.vote_cast:
                return outcome  # a second click on the same button
            self.comparison.vote(which)
            self._ranking = ranking_html()
            self._publish()
        self.refresh()
        return outcome

    def set(self, **changes: Any) -> None:
        """Change ``arms``, ``params``, ``system`` (the system prompt) or ``blind`` (whether names are hidden).

        Raises
        ------
        LLMError
            A value is invalid; nothing is changed.
        """
        settings = self.settings.with_changes(changes)
        with self._channel.lock:
            self.settings = settings
            self._publish()

    def text(self, mark: str | None = None, question: int | None = None) -> str:
        """Return the last question, empty before the first; or the Markdown of the answer with this mark."""
        with self._channel.lock:
            if question not in {None, self._count}:
                raise LLMError("Another question was asked since.", category="not_found")
            if self.comparison is None:
                return ""
            if mark is None:
                return self.comparison.arms[0].request.prompt
            index = self._index(mark)
            return self.comparison.column(index, render=False).text or self._answers[index].source("text")

    # ---- output ---------------------------------------------------------------------------------------

    def static_content(self) -> StaticContent:
        """Return the last comparison for readers without a kernel."""
        with self._channel.lock:
            comparison, answers = self.comparison, self._answers
        if comparison is None:
            return StaticContent()
        columns = [
            _incomplete_column(column, answer) if column.running else column
            for column, answer in zip(comparison.columns(), answers, strict=True)
        ]
        prompt = self.text()
        note = self._note(comparison)
        html = columns_html(columns, note)
        title = escape(shorten(prompt, _TITLE_CHARS))
        html = f'<details class="ipyllm-transcript" open><summary>{title}</summary>{html}</details>'
        return StaticContent(
            html,
            f"{prompt}\n\n{columns_text(columns, note)}",
            f"*{escape_markdown(prompt)}*\n\n{columns_markdown(columns, note)}",
        )

    def _on_finished(self, answer: LiveAnswer, parts: dict[str, Any]) -> None:
        self._parts[answer.name] = parts

    def _turns(self) -> list[dict[str, Any]]:
        comparison = self.comparison
        if comparison is None:
            return []
        return [self._column_payload(comparison, index) for index in range(len(comparison.arms))]

    def _column_payload(self, comparison: Comparison, index: int) -> dict[str, Any]:
        answer, column = self._answers[index], comparison.column(index, render=False)
        response = comparison.responses[index]
        payload: dict[str, Any] = {
            "id": answer.name,
            "mark": column.mark,
            "label": column.label,
            "status": "running" if response is None or answer.name not in self._parts else response.status,
            "footer": "" if column.running else column.footer,
            "error": column.error or None,
            "preferred": column.preferred,
            "waiting": waiting_payload(answer.waiting) if answer.name in self._live else None,
        }
        if answer.name in self._parts:
            payload["parts"] = self._parts[answer.name]
        return payload

    def _totals(self) -> str:
        note = self._note(self.comparison) if self.comparison is not None else ""
        return " ".join(filter(None, (note, self._ranking)))

    def _note(self, comparison: Comparison) -> str:
        return " ".join(filter(None, (self._retirement, comparison.note)))

    def _settings(self) -> dict[str, Any]:
        settings, comparison, prompt = self.settings, self.comparison, self.text()
        is_long = len(prompt) > _MAX_PROMPT_CHARS
        return {
            "arms": [{"model": arm.model, "params": dict(arm.params)} for arm in settings.arms],
            "models": self._available,
            "efforts": common_efforts(arm.model for arm in settings.arms),
            "params": settings.params,
            "system": settings.system,
            "blind": settings.blind,
            "question": self._count,
            "prompt": f"{prompt[:_EXCERPT_CHARS]} …" if is_long else prompt,
            "chars": len(prompt) if is_long else 0,
            "vote": comparison.vote_cast if comparison is not None else None,
            "hidden": comparison.names_hidden if comparison is not None else False,
        }


def _incomplete_column(column: Column, answer: LiveAnswer) -> Column:
    text = answer.source("text")
    html = reasoning_html(answer.source("reasoning")) + to_html(text)
    error = "The answer was incomplete when the notebook was saved."
    return replace(column, html=html, text=text, footer="", error=error, running=False)


def _validate_arms(given: Iterable[Any]) -> list[ArmSettings]:
    arms = []
    for item in given:
        if not isinstance(item, dict) or not isinstance(item.get("model"), str):
            raise bad_request("The page sent a wrong list of models: reload the page.")
        if not item["model"].strip():
            raise bad_request("A compared model has no name: choose one, or remove its row.")
        arms.append(ArmSettings(item["model"].strip(), validate_params(item.get("params", {}))))
    return arms
