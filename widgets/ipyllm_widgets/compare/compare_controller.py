"""A comparison without its widget: what is asked and how, the answers as they come, the votes and the ranking."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ipyllm.comparison.comparison import Comparison
from ipyllm.errors import LLMError
from ipyllm.events import Finished
from ipyllm.registry.models import create_llm_service
from ipyllm.rendering import reasoning_html, to_html
from ipyllm.request import Provenance
from ipyllm_widgets.available_models import offered
from ipyllm_widgets.compare.ranking import ranking_html
from ipyllm_widgets.live_answer import LiveAnswer
from ipyllm_widgets.parameters import checked_params
from ipyllm_widgets.state_diff import Told
from ipyllm_widgets.static_output import WHILE_IT_COMES_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ipyllm.events import Event
    from ipyllm.rendering import Column
    from ipyllm.services.base import BaseLLMService
    from ipyllm_widgets.message_channel import Outbox

__all__ = ["CompareSession", "CompareSettings", "Seat"]

_FEWEST = 2
_DRAWING_S = 30.0  # longest wait for the drawing of answers that are there
_LONG = 4_000  # characters of a question that is told whole
_TOLD = 1_200  # characters that are told of a longer one


@dataclass(frozen=True)
class Seat:
    """One model that is compared, with parameters of its own."""

    model: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def service(self, shared: Mapping[str, Any]) -> BaseLLMService:
        """Make what is asked; its own parameters come before the shared ones."""
        return create_llm_service(self.model, **{**shared, **self.params})


@dataclass(frozen=True)
class CompareSettings:
    """What the next question is asked with."""

    seats: list[Seat]
    params: dict[str, Any] = field(default_factory=dict)
    system: str = ""
    blind: bool = False

    def with_changes(self, changes: Mapping[str, Any]) -> CompareSettings:
        """Return these settings with ``changes``.

        Raises
        ------
        LLMError
            For what cannot be right.
        """
        seats = _seats(changes["seats"]) if "seats" in changes else self.seats
        params = checked_params(changes["params"]) if "params" in changes else self.params
        for seat in seats:
            seat.service(params)
        system, blind = changes.get("system", self.system), changes.get("blind", self.blind)
        return CompareSettings(seats, dict(params), str(system or ""), bool(blind))


class CompareSession:
    """One question after the other, to the same models at once.

    Methods may be called from any thread; :meth:`draw` is the drawing thread's.

    Parameters
    ----------
    outbox : Outbox
        Where the browser is told, and the lock.
    settings : CompareSettings
        What to ask with.
    wake : callable
        Has :meth:`draw` called soon; with True, at once.
    keep : callable
        Called to have what is kept beside the widget brought up to date, if that is older than so many seconds: 0 when
        an answer has ended and after a vote, some while answers come.
    """

    def __init__(
        self,
        outbox: Outbox,
        settings: CompareSettings,
        *,
        wake: Callable[[bool], None],
        keep: Callable[[float], object],
    ) -> None:
        self.settings = settings
        self.comparison: Comparison | None = None
        self._outbox = outbox
        self._wake = wake
        self._keep = keep
        self._answers: list[LiveAnswer] = []
        self._parts: dict[str, dict[str, Any]] = {}
        self._count = 0
        self._ranking = ""
        self._told = Told(outbox)
        self._offers: list[str] = []
        self._at_rest = threading.Event()
        self._at_rest.set()

    # ---- what a person does --------------------------------------------------------------------------

    def ask(self, prompt: str) -> Comparison:
        """Ask all at once; the answers come by and by.

        Raises
        ------
        LLMError
            Nothing was sent: answers are still coming, the prompt is empty, or a model cannot be asked.
        """
        if not isinstance(prompt, str):
            raise LLMError(f"A question is text, not {type(prompt).__name__}.", category="bad_request")
        self._settle()
        with self._outbox.lock:
            if self.running:
                raise LLMError(
                    "Answers are still coming: stop them first, or wait for their end.", category="bad_request"
                )
            settings = self.settings
            if len(settings.seats) < _FEWEST:
                raise LLMError("There is nothing to compare: choose two models or more.", category="bad_request")
            comparison = Comparison(
                prompt,
                [seat.service(settings.params) for seat in settings.seats],
                system=settings.system or None,
                provenance=Provenance(origin="widget"),
                blind=settings.blind,
            )
            self._count += 1
            answers = [LiveAnswer(f"{self._count}-{arm.mark}") for arm in comparison.arms]

            def on_event(place: int, event: Event) -> None:
                answers[place].on_event(event)
                self._wake(isinstance(event, Finished))

            self.comparison, self._answers, self._parts = comparison, answers, {}
            self._at_rest.clear()
            try:
                comparison.start(on_event)
            except BaseException:  # an interrupt: some were not sent, and would never end
                self.comparison, self._answers = None, []
                self._at_rest.set()
                raise
            finally:
                self._publish()
        self._keep(0.0)  # a notebook that is saved now has the question
        return comparison

    def stop(self, mark: str | None = None, question: int | None = None) -> None:
        """Stop the answers that are coming, or the one with this mark; what came is kept.

        Nothing is stopped that answers another than the named question.
        """
        comparison = self.comparison
        if comparison is None or question not in {None, self._count}:
            return
        if mark is None:
            comparison.cancel()
            return
        for place, arm in enumerate(comparison.arms):
            if arm.mark == mark:
                comparison.cancel_arm(place)
                return
        raise LLMError(f"There is no answer {mark!r}.", category="not_found")

    def vote(self, which: str, question: int | None = None) -> str:
        """Keep which answer is better; names that were hidden are shown from then on.

        Parameters
        ----------
        which : str
            As for :meth:`ipyllm.Comparison.vote`.
        question : int, optional
            Which question the vote is about; by default the last.

        Raises
        ------
        LLMError
            Nothing was asked, something else was asked since, answers are still coming, or there is no such answer.
        """
        self._settle()
        with self._outbox.lock:
            if question not in {None, self._count}:
                raise LLMError(
                    "Another question was asked meanwhile, so this vote was not kept: vote on the answers shown now.",
                    category="bad_request",
                )
            if self.comparison is None or self.running:
                raise LLMError("Vote when all answers are there.", category="bad_request")
            outcome = self.comparison.outcome(which)
            if outcome == self.comparison.vote_cast:
                return outcome  # a second click on the same button
            self.comparison.vote(which)
            self._ranking = ranking_html()
            self._publish()
        self._keep(0.0)
        return outcome

    def set(self, changes: Mapping[str, Any]) -> None:
        """Change the models, the parameters, the system message, or whether names are hidden.

        Raises
        ------
        LLMError
            For what cannot be right; nothing is changed then.
        """
        settings = self.settings.with_changes(changes)
        with self._outbox.lock:
            self.settings = settings
            self._publish()

    @property
    def prompt(self) -> str:
        """What was asked last; empty before the first."""
        return self.comparison.arms[0].request.prompt if self.comparison is not None else ""

    @property
    def running(self) -> bool:
        """Whether answers are coming."""
        return any(answer.name not in self._parts for answer in self._answers)

    def _settle(self) -> None:
        """Have the answers drawn to their end if that has come: who waited for the comparison may go on."""
        comparison = self.comparison
        if comparison is not None and comparison.done.is_set():
            self._at_rest.wait(_DRAWING_S)

    def close(self) -> None:
        """Stop what runs."""
        self.stop()

    # ---- on the drawing thread -----------------------------------------------------------------------

    def draw(self) -> int:
        """Send what is new, and return about how many bytes that took."""
        answers = self._answers
        drawn, failure = self._drawn(answers)
        with self._outbox.lock:
            if self._answers is not answers:
                return 0
            deltas = [delta for answer, changes in drawn for delta in answer.advance(changes)]
            sent = self._told.grow(deltas) if deltas else 0
            ended = [answer for answer, _ in drawn if answer.response is not None]
            for answer in ended:
                self._parts[answer.name] = answer.as_json()
                self._told.has_all(answer.name, self._parts[answer.name])
            if ended:
                self._publish()
            if not self.running:
                self._at_rest.set()
        if failure is not None:
            raise failure
        if ended or sent:
            self._keep(0.0 if ended else WHILE_IT_COMES_S)
        return sent

    def _drawn(self, answers: list[LiveAnswer]) -> tuple[list[tuple[LiveAnswer, list[Any]]], Exception | None]:
        """Draw what has not ended. What cannot be drawn ends all the same, and keeps no other from its end."""
        drawn: list[tuple[LiveAnswer, list[Any]]] = []
        failure = None
        for answer in answers:
            if answer.name not in self._parts:
                try:
                    drawn.append((answer, list(answer.draw())))
                except Exception as exc:  # noqa: BLE001 - raised when the others are drawn
                    drawn.append((answer, []))
                    failure = exc
        return drawn, failure

    def columns(self) -> list[Column]:
        """Return the answers as far as they have come, for whoever reads them without a kernel."""
        with self._outbox.lock:
            comparison, answers = self.comparison, self._answers
        if comparison is None:
            return []
        return [
            self._unfinished(column, answer) if column.running else column
            for column, answer in zip(comparison.columns(), answers, strict=True)
        ]

    @staticmethod
    def _unfinished(column: Column, answer: LiveAnswer) -> Column:
        text = answer.written("text")
        html = reasoning_html(answer.written("reasoning")) + to_html(text)
        return replace(
            column, html=html, text=text, footer="", error="It had not ended when this was kept.", running=False
        )

    # ---- what the browser knows ----------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return everything that is shown, with the number of the last message that is part of it."""
        with self._outbox.lock:
            self._offers = offered()
            coming = {answer.name: answer.as_json() for answer in self._answers if answer.name not in self._parts}
            return self._told.whole(self._columns(), self._surroundings(), coming)

    def _publish(self) -> None:
        """Tell the browser what differs from what it knows."""
        self._told.change(self._columns(), self._surroundings())

    def _columns(self) -> list[dict[str, Any]]:
        comparison = self.comparison
        if comparison is None:
            return []
        return [self._as_json(comparison, place) for place in range(len(comparison.arms))]

    def _as_json(self, comparison: Comparison, place: int) -> dict[str, Any]:
        answer, column = self._answers[place], comparison.column(place)
        response = comparison.responses[place]
        told: dict[str, Any] = {
            "id": answer.name,
            "mark": column.mark,
            "label": column.label,
            "status": "running" if response is None or answer.name not in self._parts else response.status,
            "footer": "" if column.running else column.footer,
            "error": column.error or None,
            "preferred": column.preferred,
        }
        if answer.name in self._parts:
            told["parts"] = self._parts[answer.name]
        return told

    def _surroundings(self) -> dict[str, Any]:
        settings, comparison = self.settings, self.comparison
        running, prompt = self.running, self.prompt
        long = len(prompt) > _LONG
        return {
            "order": [answer.name for answer in self._answers],
            "running": self._answers[0].name if running else None,
            "totals": self._ranking,
            "settings": {
                "seats": [{"model": seat.model, "params": dict(seat.params)} for seat in settings.seats],
                "models": self._offers,
                "params": settings.params,
                "system": settings.system,
                "blind": settings.blind,
                "question": self._count,
                "prompt": f"{prompt[:_TOLD]} …" if long else prompt,
                "chars": len(prompt) if long else 0,
                "vote": comparison.vote_cast if comparison is not None else None,
                "hidden": comparison.names_hidden if comparison is not None else False,
            },
        }


def _seats(given: Any) -> list[Seat]:
    seats = [Seat(str(item["model"]).strip(), checked_params(item.get("params", {}))) for item in given]
    if not all(seat.model for seat in seats):
        raise LLMError("A model to compare has no name: choose one, or take its column away.", category="bad_request")
    return seats
