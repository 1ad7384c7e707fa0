"""Controller of a comparison: the rounds of questions and answers, the votes and the ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ipyllm.comparison.comparison import Comparison
from ipyllm.errors import LLMError, bad_request
from ipyllm.registry.models import common_efforts
from ipyllm.request import Provenance
from ipyllm_widgets.attachments.files import as_sent, check_window, file_text, question_with_files
from ipyllm_widgets.attachments.images import MAX_IMAGE_BYTES, MAX_MESSAGE_IMAGE_BYTES
from ipyllm_widgets.compare.arm_histories import earlier_messages
from ipyllm_widgets.compare.compare_export import export_comparison
from ipyllm_widgets.compare.compare_round import CompareRound
from ipyllm_widgets.compare.saved_rounds import look_up_draft, look_up_rounds, save_draft, save_rounds
from ipyllm_widgets.compare.vote_ranking import ranking_html
from ipyllm_widgets.controller import Controller
from ipyllm_widgets.draft_estimate import NextCall
from ipyllm_widgets.live_state import LiveState
from ipyllm_widgets.render_thread import RenderThread
from ipyllm_widgets.static_output import StaticContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipyllm_widgets.compare.compare_export import CompareFormat
    from ipyllm_widgets.compare.compare_settings import CompareSettings
    from ipyllm_widgets.live_answer import LiveAnswer
    from ipyllm_widgets.message_channel import MessageChannel

__all__ = ["CompareController"]

_newest: WeakValueDictionary[str, CompareController] = WeakValueDictionary()
"""Of the controllers of one name the one that was made last: only that is kept in the ledger."""
_MIN_ARMS = 2
_LONG_COMPARISON = 10  # rounds; longer ones are rendered more seldom for the static output


class CompareController(Controller[LiveState]):
    """Asks several models the same questions, one after another. Each question with its answers is a round.

    A question that follows is sent to each model with its own answers to the earlier ones. The conversation is made of
    the rounds since the last that did not follow.

    Parameters
    ----------
    settings : CompareSettings
        Settings of the next question.
    channel, on_error
        As for :class:`Controller`.
    name : str
        Name under which the rounds are kept in the ledger, and come back; empty to keep none.
    """

    def __init__(
        self, settings: CompareSettings, channel: MessageChannel, on_error: Callable[[Exception], None], name: str
    ) -> None:
        super().__init__(LiveState(look_up_draft(name) if name else ""), channel, on_error)
        self.settings = settings
        self.name = name
        self.rounds = look_up_rounds(name) if name else []
        self._cleared: list[CompareRound] = []
        self._count = self.rounds[-1].number if self.rounds else 0
        # Of its own: a question that follows a vote does not wait for it.
        self._ranking_thread = RenderThread(self._rank, on_error)
        self._ranking = ranking_html() if any(asked.comparison.vote_cast for asked in self.rounds) else ""
        _newest[name] = self

    @property
    def comparison(self) -> Comparison | None:
        """The last comparison; None before the first."""
        return self.rounds[-1].comparison if self.rounds else None

    def _rank(self) -> int:
        """Rank by the votes so far, which takes longer than a vote, and show it."""
        ranking = ranking_html()
        with self._channel.lock:
            self._ranking = ranking
            self._publish()
        return len(ranking)

    def _save(self) -> None:
        if self.name and _newest.get(self.name) is self:  # otherwise its cell was run again
            save_rounds(self.name, self.rounds)

    # ---- commands -------------------------------------------------------------------------

    def draft(self, text: str, **counts: Any) -> None:
        """Keep what is typed and not sent, as every widget does: a restarted kernel shows it again, too."""
        if self.name and text != self._shown.draft:
            save_draft(self.name, text)
        super().draft(text, **counts)

    def ask(self, prompt: str, images: Iterable[Any] = (), files: Iterable[Any] = ()) -> Comparison:
        """Ask all models, and return at once.

        Raises
        ------
        LLMError
            An answer is still streaming, the question is empty, or a model cannot be asked. Nothing was sent.
        """
        question = question_with_files(prompt, images, files)
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            if len(self.settings.arms) < _MIN_ARMS:
                raise bad_request("There is nothing to compare: choose at least two models.")
            asked = self._next_round(question)
            self.rounds.append(asked)
            self._count += 1
            self._shown.begin(asked.answers)
            self._shown.call = comparison = asked.comparison
            try:
                comparison.start(lambda index, event: self._receive(self._shown, asked.answers[index], event))
            except BaseException:  # an interrupt: requests that were not sent would never end
                self.rounds.remove(asked)
                self._shown.end()
                raise
            finally:
                self._save()
                self._publish()
        self.refresh()  # a notebook that is saved now contains the question
        return comparison

    def _next_round(self, question: dict[str, Any]) -> CompareRound:
        settings, before = self.settings, self._conversation() if self.settings.multi_turn else []
        names = settings.names
        blind = settings.blind and (not before or before[-1].comparison.names_hidden)
        if before:  # whoever was A stays A, also when a vote has shown the names
            shown = before[-1].names
            names = sorted(names, key=lambda name: shown.index(name) if name in shown else len(shown))
        services = [settings.service(name) for name in names]
        for service in services:
            check_window(question, service)
        retirement = " ".join(note for service in services if (note := service.retirement_note()) is not None)
        histories = [
            earlier_messages(before, name, question, service, settings)
            for name, service in zip(names, services, strict=True)
        ]
        comparison = Comparison(
            [as_sent(question)],
            services,
            system=settings.system or None,
            provenance=Provenance(origin="widget"),
            histories=[messages for messages, _ in histories],
            blind=blind,
            shuffle=blind and not before,
        )
        places = [next(at for at, service in enumerate(services) if service is arm.given) for arm in comparison.arms]
        return CompareRound(
            self._count + 1,
            question,
            comparison,
            [names[place] for place in places],
            follows=bool(before),
            notes=[histories[place][1] for place in places],
            note=retirement,
        )

    def _next_calls(self) -> list[NextCall]:
        settings = self.settings
        with self._channel.lock:
            before = self._conversation() if settings.multi_turn else []
        return [
            NextCall(
                settings.service(name),
                settings.system,
                [messages for asked in before if (messages := asked.messages_of(name)) is not None],
            )
            for name in settings.names
        ]

    def _conversation(self) -> list[CompareRound]:
        """Return the rounds since the last that did not follow, itself included."""
        start = max((at for at, asked in enumerate(self.rounds) if not asked.follows), default=0)
        return self.rounds[start:]

    def regenerate(self, mark: str, question: int | None = None) -> None:
        """Ask one model the last question again: its answer is replaced, and a vote is withdrawn.

        Raises
        ------
        LLMError
            An answer is still streaming, another question was asked since, or there is no such answer.
        """
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            asked = self._round(question)
            if asked is not self.rounds[-1]:
                raise bad_request("Only answers to the last question can be asked for again.")
            index = asked.index_of(mark)
            before, comparison = asked.answers[index], asked.comparison
            had_vote = comparison.vote_cast is not None
            answer = asked.renew_answer(index)
            self._shown.begin([answer])
            self._shown.call = comparison
            try:
                comparison.ask_again(index, lambda event: self._receive(self._shown, answer, event))
            except BaseException:  # an interrupt
                asked.answers[index] = before
                self._shown.end()
                raise
            finally:
                if had_vote:
                    self._ranking_thread.wake()
                self._save()
                self._publish()
        self.refresh()

    def stop(self, mark: str | None = None, question: int | None = None) -> None:
        """Stop the running answers, or the one with this mark, and keep their text so far.

        Parameters
        ----------
        question : int, optional
            Number of the question; answers to any other are not stopped.
        """
        if not self.rounds or question not in {None, self._count}:
            return
        asked = self.rounds[-1]
        if mark is None:
            asked.comparison.cancel()
        else:
            asked.comparison.cancel_arm(asked.index_of(mark))

    def clear(self) -> None:
        """Remove all rounds; the votes stay in the ledger.

        Raises
        ------
        LLMError
            An answer is still streaming.
        """
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            self._cleared, self.rounds = self.rounds or self._cleared, []
            self._save()
            self._publish()
        self.refresh()

    def undo_clear(self) -> None:
        """Show the rounds again that were removed.

        Raises
        ------
        LLMError
            There are none, or something was asked since.
        """
        self._wait_until_rendered()
        with self._channel.lock:
            if self.rounds or not self._cleared:
                raise LLMError("The rounds can no longer be brought back.", category="not_found")
            self._cleared, self.rounds = [], self._cleared
            self._save()
            self._publish()
        self.refresh()

    def _round(self, question: int | None) -> CompareRound:
        """Return the round of the question with this number, by default the last."""
        for asked in reversed(self.rounds):
            if question in {None, asked.number}:
                return asked
        raise LLMError("This question is no longer shown.", category="not_found")

    def vote(self, which: str, question: int | None = None) -> str:
        """Store in the ledger which answer is better; hidden names are shown from then on.

        Parameters
        ----------
        which : str
            As for :meth:`ipyllm.Comparison.vote`; or ``"none"`` withdraws the vote.
        question : int, optional
            Number of the question; by default the last.

        Raises
        ------
        LLMError
            Nothing was asked, an answer is still streaming, or ``which`` is unknown.
        """
        self._wait_until_rendered()
        with self._channel.lock:
            if not self.rounds or (self.running and question in {None, self._count}):
                raise bad_request("Vote when all answers have ended.")
            asked = self._round(question)
            comparison = asked.comparison
            outcome = None if which == "none" else comparison.outcome(which)
            if outcome == comparison.vote_cast:
                return which if outcome is None else outcome  # a second click on the same button
            if outcome is None:
                comparison.withdraw_vote()
            else:
                comparison.vote(which)
                self._reveal(asked)
            self._save()
            self._publish()
        self._ranking_thread.wake()
        self.refresh()
        return which if outcome is None else outcome

    def _reveal(self, voted: CompareRound) -> None:
        """Show the names in all rounds of the conversation of this one: they have the same marks."""
        at = self.rounds.index(voted)
        start = max((n for n in range(at + 1) if not self.rounds[n].follows), default=0)
        end = next((n for n in range(at + 1, len(self.rounds)) if not self.rounds[n].follows), len(self.rounds))
        for asked in self.rounds[start:end]:
            asked.comparison.reveal()

    def set(self, **changes: Any) -> None:
        """Change ``arms``, ``params``, ``system``, ``blind`` or ``multi_turn`` of the next question.

        Raises
        ------
        LLMError
            A value is invalid; nothing is changed.
        """
        settings = self.settings.with_changes(changes)
        with self._channel.lock:
            self.settings = settings
            self._publish()

    def text(self, mark: str | None = None, question: int | None = None, file: int | None = None) -> str:
        """Return the last question, empty before the first; or the Markdown of the answer with this mark, or a file."""
        with self._channel.lock:
            if question is None and not self.rounds:
                return ""
            asked = self._round(question)
            return asked.text(mark) if file is None else file_text(asked.question, file)

    def export(self, form: CompareFormat) -> str:
        """Return the rounds with their answers and votes as text."""
        with self._channel.lock:
            rounds = list(self.rounds)
        return export_comparison(rounds, form)

    # ---- output ---------------------------------------------------------------------------------------

    def static_content(self) -> StaticContent:
        """Return all rounds for readers without a kernel."""
        with self._channel.lock:
            rounds = list(self.rounds)
        contents = [asked.static_content() for asked in rounds]
        return StaticContent(
            "".join(content.html for content in contents),
            "\n\n".join(content.text for content in contents),
            "\n\n".join(content.markdown for content in contents),
        )

    def _static_interval_s(self) -> float:
        return super()._static_interval_s() * (1 + len(self.rounds) / _LONG_COMPARISON)

    def _on_finished(self, _state: LiveState, /, answer: LiveAnswer, parts: dict[str, Any]) -> None:
        if self.rounds:
            self.rounds[-1].parts[answer.name] = parts
            self._save()

    def _turns(self) -> list[dict[str, Any]]:
        return [turn for asked in self.rounds for turn in asked.turns(self._shown.live)]

    def _totals(self) -> str:
        return self._ranking

    def _settings(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "arms": [{"model": arm.model, "params": dict(arm.params)} for arm in settings.arms],
            "models": [*settings.services, *(name for name in self._available if name not in settings.services)],
            "efforts": common_efforts(settings.full_names),
            "params": settings.params,
            "system": settings.system,
            "blind": settings.blind,
            "multiTurn": settings.multi_turn,
            "question": self._count,
            "limits": {"image": MAX_IMAGE_BYTES, "images": MAX_MESSAGE_IMAGE_BYTES},
        }
