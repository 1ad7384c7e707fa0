"""Asks the models of a comparison: questions, the queue of those that wait, one answer again, stop."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ipyllm.errors import LLMError, bad_request
from ipyllm_widgets.attachments.files import question_with_files
from ipyllm_widgets.compare.earlier_arms import arm_to_ask
from ipyllm_widgets.compare.next_round import conversation_of, next_round, reveal_conversation
from ipyllm_widgets.compare.saved_rounds import (
    look_up_comparison,
    look_up_draft,
    look_up_queue,
    save_comparison,
    save_draft,
    save_queue,
)
from ipyllm_widgets.controller import Controller
from ipyllm_widgets.draft_estimate import NextCall
from ipyllm_widgets.live_answer import parts_of
from ipyllm_widgets.live_state import LiveState
from ipyllm_widgets.question_queue import QuestionQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipyllm.comparison.comparison import Comparison
    from ipyllm.messages import Message
    from ipyllm.response import ChatResponse
    from ipyllm_widgets.compare.compare_round import CompareRound
    from ipyllm_widgets.compare.compare_settings import CompareSettings
    from ipyllm_widgets.live_answer import LiveAnswer
    from ipyllm_widgets.message_channel import MessageChannel

__all__ = ["CompareCalls"]

_newest: WeakValueDictionary[str, CompareCalls] = WeakValueDictionary()
"""Of the controllers of one name the one that was made last: only that is kept in the ledger."""
_MIN_ARMS = 2
_ENDED_WELL = ("ok", "truncated")


class CompareCalls(Controller[LiveState]):
    """The rounds of a comparison, and the calls that they are made of.

    A question that follows is sent to each model with its own answers to the earlier ones. The conversation is made of
    the rounds since the last that did not follow.

    Parameters
    ----------
    settings : CompareSettings
        Settings of the next question, as the cell gives them.
    channel, on_error
        As for :class:`Controller`.
    name : str
        Name under which the rounds are kept in the ledger, and come back; empty to keep none.
    """

    def __init__(
        self, settings: CompareSettings, channel: MessageChannel, on_error: Callable[[Exception], None], name: str
    ) -> None:
        super().__init__(LiveState(look_up_draft(name) if name else ""), channel, on_error)
        self.name = name
        self._given = settings
        self.settings = settings
        self.rounds: list[CompareRound] = []
        self._queue = QuestionQueue(look_up_queue(name) if name else ())
        earlier = _newest.get(name)
        if earlier is not None:  # its cell was run again: an answer that streams there goes on
            self.settings = earlier.settings_of_page(settings)
            self.rounds, self._queue, self._shown.draft = earlier.hand_over()
        elif name:
            self.settings, self.rounds = look_up_comparison(name, settings)
        self._was_stopped = False
        self._replaced: LiveAnswer | None = None  # by an answer that is asked for again
        self._count = self.rounds[-1].number if self.rounds else 0
        if name:
            _newest[name] = self

    def settings_of_page(self, given: CompareSettings) -> CompareSettings:
        """Return the settings as they were left in the page, with the services of now; those ``given``, if changed."""
        if given.as_json() != self._given.as_json():
            return given
        return replace(self.settings, services={**self.settings.services, **given.services})

    def hand_over(self) -> tuple[list[CompareRound], QuestionQueue, str]:
        """Return the rounds, the questions that wait, and what is typed, for the widget that takes its place.

        The questions wait there for the user: only this widget learns when the answers have ended.
        """
        with self._channel.lock:  # so that none is asked here and there
            queue, self._queue = self._queue, QuestionQueue()
            queue.held = len(queue) > 0
            self._publish()
            return list(self.rounds), queue, self._shown.draft

    @property
    def _is_newest(self) -> bool:
        """Whether the ledger keeps what waits and what is typed here: it is not that of a cell that was run again."""
        return _newest.get(self.name) is self

    def save(self) -> None:
        """Save the rounds; those of a cell that was run again are the newer widget's, which shows their answers."""
        newest = _newest.get(self.name)
        if newest is self:
            save_comparison(self.name, self._given, self.settings, self.rounds)
        elif newest is not None:
            newest.save()
            newest.refresh()

    def draft(self, text: str, **counts: Any) -> None:
        """Keep what is typed and not sent, as every widget does: a restarted kernel shows it again, too."""
        changed = text != self._shown.draft
        super().draft(text, **counts)
        if changed and self._is_newest:
            with self._channel.lock:
                save_draft(self.name, text)

    def _save_queue(self) -> None:
        """Save the questions that wait: after a restart of the kernel they wait for the user."""
        if self._is_newest:
            save_queue(self.name, self._queue.messages())

    # ---- asking -----------------------------------------------------------------------------------

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
            return self._ask(question)

    def _ask(self, question: Message) -> Comparison:
        if len(self.settings.arms) < _MIN_ARMS:
            raise bad_request("There is nothing to compare: choose at least two models.")
        asked = next_round(self._count + 1, question, self._conversation(), self.settings)
        comparison = asked.comparison
        self.rounds.append(asked)
        try:
            self._count += 1
            self._was_stopped = False
            self._replaced = None
            self._shown.begin(asked.answers)
            self._shown.call = comparison
            comparison.start(lambda index, event: self._receive(self._shown, asked.answers[index], event))
            if not comparison.names_hidden:  # the same letters as before: whoever sees these names knows all
                reveal_conversation(self.rounds, asked)
        except BaseException:  # an interrupt: requests that were not sent would never end
            self.rounds.remove(asked)
            self._shown.end()
            raise
        finally:
            self.save()
            self._publish()
        self.refresh()  # a notebook that is saved now contains the question
        return comparison

    def _next_calls(self) -> list[NextCall]:
        settings = self.settings
        with self._channel.lock:
            before = self._conversation()
        return [
            NextCall(
                settings.service(name),
                settings.system,
                [messages for asked in before if (messages := asked.messages_of(name)) is not None],
            )
            for name in settings.names
        ]

    def _conversation(self) -> list[CompareRound]:
        """Return the earlier rounds that the next question follows."""
        return conversation_of(self.rounds, self.rounds[-1]) if self.settings.multi_turn and self.rounds else []

    def regenerate(self, mark: str, question: int | None = None) -> None:
        """Ask one model the last question again: its answer is replaced, and a vote is withdrawn.

        Raises
        ------
        LLMError
            An answer is still streaming, another question was asked since, there is no such answer, or its model is no
            longer available. Nothing is changed.
        """
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            asked = self._round(question)
            if asked is not self.rounds[-1]:
                raise bad_request("Only answers to the last question can be asked for again.")
            index = asked.index_of(mark)
            history = conversation_of(self.rounds, asked)[:-1]
            arm = arm_to_ask(asked, index, history, self.settings.services)
            before, comparison = asked.answers[index], asked.comparison
            had_vote = comparison.vote_cast is not None
            try:
                answer = asked.renew_answer(index)
                self._was_stopped = False
                self._replaced = before if asked.has_answer(index) else None
                self._shown.begin([answer])
                self._shown.call = comparison
                comparison.ask_again(index, lambda event: self._receive(self._shown, answer, event), arm=arm)
            except BaseException:  # an interrupt, or a key that is missing
                asked.answers[index] = before
                self._shown.end()
                raise
            finally:
                if had_vote:
                    self._on_vote()
                self.save()
                self._publish()
        self.refresh()

    @abstractmethod
    def _on_vote(self) -> None:
        """Go on after a vote was cast or withdrawn."""

    def _round(self, question: int | None) -> CompareRound:
        """Return the round of the question with this number, by default the last."""
        for asked in reversed(self.rounds):
            if question in {None, asked.number}:
                return asked
        raise LLMError("This question is no longer shown.", category="not_found")

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
            self._was_stopped = True
            asked.comparison.cancel()
        else:
            asked.comparison.cancel_arm(asked.index_of(mark))

    # ---- the queue ----------------------------------------------------------------------------------

    def queue(self, prompt: str, images: Iterable[Any] = (), files: Iterable[Any] = ()) -> None:
        """Ask a question as soon as the running answers have ended, after those that wait already."""
        question = question_with_files(prompt, images, files)
        self._wait_until_rendered()
        with self._channel.lock:
            if self.running:
                self._queue.add(question)
                self._save_queue()
                self._publish()
            else:
                self._ask(question)

    def unqueue(self, question: str, give_back: Callable[[Message], None]) -> None:
        """Remove a question from the queue when it was given back; it waits on if that fails."""
        with self._channel.lock:
            give_back(self._queue.find(question))
            self._queue.remove(question)
            self._save_queue()
            self._publish()

    def send_next(self) -> None:
        """Ask the first question of the queue, which waits for the user."""
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            if len(self._queue):
                self._ask_next()

    def _on_idle(self, _state: LiveState, /, _response: ChatResponse) -> None:
        if not len(self._queue):
            return
        ended = [response.status for response in self.rounds[-1].comparison.responses if response is not None]
        if self._was_stopped or not any(status in _ENDED_WELL for status in ended):
            self._queue.held = True
            self._publish()
            return
        with suppress(LLMError):  # the page shows that it waits on
            self._ask_next()

    def _ask_next(self) -> None:
        question = self._queue.first()
        try:
            self._ask(question)
            self._queue.pop()
        except LLMError:
            self._queue.held = True
            raise
        finally:
            self._save_queue()
            self._publish()

    # ---- answers --------------------------------------------------------------------------------------

    def _on_finished(self, _state: LiveState, /, answer: LiveAnswer, parts: dict[str, Any]) -> None:
        assert answer.response is not None
        asked = next((asked for asked in reversed(self.rounds) if answer in asked.answers), None)
        if asked is None:
            return
        # Reasoning was not sent while names were hidden.
        asked.parts[answer.name] = parts_of(answer.response.reasoning, "") | parts
        replaced, self._replaced = self._replaced, None
        if replaced is not None and answer.response.status not in _ENDED_WELL and not answer.response.content:
            self._put_back(asked, asked.answers.index(answer), replaced)
        self.save()

    def _put_back(self, asked: CompareRound, index: int, answer: LiveAnswer) -> None:
        """Show the earlier answer again: nothing came when it was asked for again."""
        failed = asked.comparison.column(index, render=False)
        asked.comparison.put_back(index)
        asked.answers[index] = answer
        if asked.comparison.vote_cast is not None:
            self._on_vote()
        if failed.error:
            text = f"Nothing came of asking {failed.mark} again, so the earlier answer stays: {failed.error}"
            self._channel.send("notice", text=text)
