"""Sends one prompt to several arms at once: models and parameter sets.

Each arm is a separate call with its own timing and ledger row; one that fails does not stop the others.
:meth:`Comparison.vote` stores which answer was preferred.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from ipyllm.comparison.answers_table import answers_table, note_on_times
from ipyllm.comparison.arms import Arm, make_arms, with_histories
from ipyllm.comparison.missing_keys import check_any_can_be_asked
from ipyllm.comparison.vote_outcome import cast_on, outcome_of
from ipyllm.errors import LLMError, bad_request
from ipyllm.pipeline.call import Call
from ipyllm.registry.models import create_llm_service
from ipyllm.runtime.interruptible import CANCEL_GRACE_S, InterruptibleEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    import pandas as pd

    from ipyllm.events import Event
    from ipyllm.messages import Message
    from ipyllm.pipeline.waiting import Waiting
    from ipyllm.rendering import Column
    from ipyllm.request import Provenance
    from ipyllm.response import ChatResponse
    from ipyllm.services.base import BaseLLMService

__all__ = ["Arm", "Comparison"]

_TOOL_SLICE_S = 0.05  # how long the waiting thread runs the tools of one arm before those of the next


class Comparison:
    """One prompt sent to several arms.

    Stages: made (checked, nothing sent) → :meth:`start` → arms stream and end independently → ``done`` is set when the
    last has ended.

    Parameters
    ----------
    prompt : str, iterable of Message, or mapping of names to these
        The prompt of all arms; or prompts by name, each of which is an arm with every model and parameter set.
    models : sequence of str or BaseLLMService
        Names, aliases or services; by default the default model.
    params : sequence of mapping, optional
        Parameter sets; every model gets every set. A set may have any argument of ``service.chat``, such as
        ``{"system": "Be brief."}``.
    system, conversation_history, tags, provenance
        As for ``service.chat``, for all arms.
    histories : sequence of iterable of Message, optional
        Earlier messages of each model alone, in the order of ``models``: its own side of a conversation.
    blind : bool
        Shuffle the arms and hide their labels until the vote.
    shuffle : bool, optional
        Whether to shuffle the arms; by default if ``blind``.
    **options
        Further arguments of ``service.chat``, for all arms: ``temperature``, ``max_tokens``, ``schema``, …

    Attributes
    ----------
    id : str
        A ULID: the tag ``comparison`` of the calls, and the name of the vote.
    arms : tuple of Arm
    done : InterruptibleEvent
        Set when all arms have ended.
    vote_cast : str or None
        The label preferred in the latest vote, or ``tie`` or ``both_bad``.

    Raises
    ------
    LLMError
        Before anything is sent: an unknown model, an invalid parameter, fewer than two arms, or the same arm twice;
        a missing key, if no arm can be asked. Otherwise the arm without a key fails alone.

    Examples
    --------
    >>> comparison = Comparison("Hello", models=["ollama/llama3.2"], params=[{"temperature": 0}, {"temperature": 1}])
    >>> [(arm.mark, arm.label) for arm in comparison.arms]
    [('A', 'llama3.2 · temperature=0'), ('B', 'llama3.2 · temperature=1')]
    >>> Comparison("Hello", models=["ollama/llama3.2"])
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: There is nothing to compare ollama/llama3.2 with: name a second model, parameter set \
or prompt.
    """

    def __init__(
        self,
        prompt: str | Iterable[Message] | Mapping[str, str | Iterable[Message]],
        models: Sequence[str | BaseLLMService] = (),
        params: Sequence[Mapping[str, Any]] = (),
        *,
        system: str | None = None,
        conversation_history: Iterable[Message] | None = None,
        tags: Mapping[str, str] | None = None,
        provenance: Provenance | None = None,
        histories: Sequence[Iterable[Message]] = (),
        blind: bool = False,
        shuffle: bool | None = None,
        **options: Any,
    ) -> None:
        from ulid import ULID

        self.id = str(ULID())
        self.blind = bool(blind)
        self.vote_cast: str | None = None
        self._revealed = False
        is_list = isinstance(models, Iterable) and not isinstance(models, str)
        given: list[Any] = list(models) if is_list else [models]
        self.arms = make_arms(
            given or create_llm_service(),
            params or None,
            prompt=prompt,
            shuffle=SystemRandom() if (self.blind if shuffle is None else shuffle) else None,
            system=system,
            conversation_history=list(conversation_history or ()),
            tags={**(tags or {}), "comparison": self.id},
            provenance=provenance,
            **options,
        )
        if histories:
            self.arms = with_histories(self.arms, given, histories)
        check_any_can_be_asked(self.arms)
        if len(self.arms) == 1:
            raise bad_request(
                f"There is nothing to compare {self.arms[0].model} with: name a second model, parameter set or prompt."
            )
        self.done = InterruptibleEvent()
        self._calls: list[Call] = []
        self._n_running = len(self.arms)

    def __repr__(self) -> str:
        from ipyllm.rendering import columns_text

        return columns_text(self.columns(), self.note)

    def _repr_html_(self) -> str:
        from ipyllm.rendering import columns_html, styled

        return styled(columns_html(self.columns(), self.note))

    def _repr_markdown_(self) -> str:
        from ipyllm.rendering import columns_markdown

        return columns_markdown(self.columns(), self.note)

    def start(self, on_event: Callable[[int, Event], None] | None = None, *, waits: bool = False) -> Self:
        """Send all calls at once.

        Parameters
        ----------
        on_event : callable, optional
            Called with an arm's index and each of its events, on the service thread; must return in microseconds.
        waits : bool
            Whether this thread will :meth:`wait` or :meth:`wait_for`, and so can run the arms' tools.
        """
        if self._calls:
            raise RuntimeError("This comparison has already been started: create a new one.")
        calls = [
            Call(arm.service, arm.request, None if on_event is None else partial(on_event, index))
            for index, arm in enumerate(self.arms)
        ]
        for call in calls:
            call.done.listen(self._on_call_ended)
        self._calls = calls
        started = 0
        try:
            for call in calls:
                call.start(waits=waits)
                started += 1
            self.done.set_by = calls[0].done.set_by
        except BaseException:
            for call in calls[: started + 1]:  # the interrupted call may have been sent
                call.cancel()
            self._n_running -= len(calls) - started
            if self._n_running <= 0:
                self.done.set()
            raise
        return self

    def _on_call_ended(self) -> None:
        # Runs on the service thread, so no lock is needed.
        self._n_running -= 1
        if self._n_running <= 0:
            self.done.set()

    def ask_again(self, index: int, on_event: Callable[[Event], None] | None = None) -> None:
        """Ask the arm at this index again; its answer takes the place of the earlier one. A vote is withdrawn.

        Parameters
        ----------
        on_event : callable, optional
            As for :meth:`start`, for this arm alone.
        """
        self._started_calls()
        if not self.done.is_set():
            raise bad_request("An answer is still streaming: wait until all have ended.")
        self.withdraw_vote()
        call = Call(self.arms[index].service, self.arms[index].request, on_event)
        self.done, self._n_running = InterruptibleEvent(), 1
        call.done.listen(self._on_call_ended)
        self._calls[index] = call
        try:
            call.start()
            self.done.set_by = call.done.set_by
        except BaseException:
            call.cancel()
            self._n_running = 0
            self.done.set()
            raise

    def cancel(self) -> None:
        """Cancel all arms; partial answers are kept."""
        for call in self._calls:
            call.cancel()

    def cancel_arm(self, index: int) -> None:
        """Cancel the arm at this index; the others continue."""
        self._started_calls()[index].cancel()

    def wait_for(self, event: InterruptibleEvent, timeout: float | None = None) -> bool:
        """Wait for ``event`` in the thread that started the arms, and run their tools meanwhile."""
        with_tools = [call for call in self._calls if call.request.tools and not call.done.is_set()]
        if not with_tools:
            return event.wait(timeout)
        from time import monotonic

        until = None if timeout is None else monotonic() + timeout
        while not event.is_set() and (until is None or monotonic() < until):
            for call in with_tools:
                remaining_s = _TOOL_SLICE_S if until is None else max(0, until - monotonic())
                if call.wait_for(event, min(_TOOL_SLICE_S, remaining_s)):
                    break
        return event.is_set()

    def wait(self) -> Self:
        """Wait until all arms have ended, and return the comparison.

        Raises
        ------
        KeyboardInterrupt
            When the user interrupts; all arms are cancelled first, and partial answers are kept.
        """
        self._started_calls()
        try:
            self.wait_for(self.done)
        except BaseException:
            self.cancel()
            with suppress(LLMError):  # the service thread cannot end it
                self.done.wait(CANCEL_GRACE_S)
            raise
        return self

    async def wait_async(self) -> Self:
        """Like :meth:`wait`, for coroutines on any event loop."""
        import asyncio

        results = await asyncio.gather(*(call.wait_async() for call in self._started_calls()), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, LLMError):
                self.cancel()
                raise result
        return self

    def waiting(self, index: int) -> Waiting | None:
        """Return what the arm at this index waits for; None once it answers, and while names are hidden.

        What it waits for may tell which model it is.
        """
        return self._calls[index].waiting() if self._calls and not self.names_hidden else None

    def _started_calls(self) -> list[Call]:
        if not self._calls:
            raise RuntimeError("This comparison has not been started: call start() first.")
        return self._calls

    @property
    def responses(self) -> list[ChatResponse | None]:
        """Responses in the order of the arms; None for arms that have not ended."""
        return [call.response for call in self._calls] or [None] * len(self.arms)

    @property
    def errors(self) -> list[LLMError | None]:
        """Errors in the order of the arms; None for arms that succeeded or have not ended."""
        return [call.error for call in self._calls] or [None] * len(self.arms)

    @property
    def names_hidden(self) -> bool:
        """Whether labels are hidden: the comparison is blind, and no vote was cast."""
        return self.blind and not self._revealed

    def reveal(self) -> None:
        """Show the labels of a blind comparison; a vote from now on is not a blind one."""
        self._revealed = True

    @property
    def note(self) -> str:
        """What to know before comparing the times of the arms; empty if there is nothing, or no times are shown."""
        return "" if self.names_hidden else note_on_times(self.arms, self.responses)

    def columns(self) -> list[Column]:
        """Return all arms for the renderer."""
        return [self.column(index) for index in range(len(self.arms))]

    def column(self, index: int, *, render: bool = True) -> Column:
        """Return one arm for the renderer; without HTML if ``render`` is False."""
        from ipyllm.comparison.ended_column import ended_column
        from ipyllm.rendering import Column

        arm, response = self.arms[index], self.responses[index]
        if response is not None:
            preferred = self.vote_cast == arm.label
            return ended_column(arm, response, names_hidden=self.names_hidden, preferred=preferred, render=render)
        label = "" if self.names_hidden else arm.label
        if self.done.is_set():
            return Column(arm.mark, label, "", "", "", error="Stopped before the request was sent.")
        return Column(arm.mark, label, "", "", "running" if self._calls else "not started", running=True)

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row for every arm.

        Returns
        -------
        DataFrame
            ``arm`` (its mark), ``label``, ``model``, ``variant`` (of several prompts), ``params``, ``status``
            (``running`` before its end), ``response`` (the text), ``preferred``; others as in ``usage()``, all that
            :func:`~ipyllm.statistics.summarise_arms` needs among them. Tokens that no server counted are null.
        """
        return answers_table(self.arms, self.responses, self.vote_cast)

    def vote(
        self, which: str | None, *, blind: bool | None = None, tags: Mapping[str, object] | None = None
    ) -> str | None:
        """Store which answer is better in the ledger. A later vote replaces an earlier one, and None withdraws it.

        The vote is on the complete answers only: arms that failed or were cancelled are not part of it.

        Parameters
        ----------
        which : str or None
            A mark (``"A"``), a label, or ``"tie"`` or ``"both_bad"``. None: no vote, as :meth:`withdraw_vote`.
        blind : bool, optional
            Whether labels were hidden from the voter; by default whether they are hidden here.
        tags : mapping, optional
            Tags of the vote, to filter by.

        Returns
        -------
        str or None
            The preferred label, or ``"tie"`` or ``"both_bad"``.

        Raises
        ------
        LLMError
            There is no such arm, it has no complete answer, fewer than two have one, or an arm has not ended.
        """
        if which is None:
            self.withdraw_vote()
            return None
        outcome = self.outcome(which)
        if not self.done.is_set():
            raise bad_request("Some answers are not complete yet: vote when all have ended.")
        is_blind = self.names_hidden if blind is None else blind
        cast_on(self.arms, self.complete, outcome, comparison=self.id, blind=is_blind, tags=tags)
        self.vote_cast, self._revealed = outcome, True
        return outcome

    def withdraw_vote(self) -> None:
        """Withdraw the vote, if there is one: it is in no table and no ranking any more."""
        if self.vote_cast is not None:
            cast_on(self.arms, self.complete, None, comparison=self.id, blind=self.names_hidden)
            self.vote_cast = None

    @property
    def complete(self) -> dict[int, ChatResponse]:
        """The complete answers, by the arms' indices: a vote is on these."""
        return {
            index: response
            for index, response in enumerate(self.responses)
            if response is not None and response.status == "ok"
        }

    def outcome(self, which: str) -> str:
        """Return the outcome of a vote for ``which``: a label, ``"tie"`` or ``"both_bad"``.

        Raises
        ------
        LLMError
            There is no such arm.
        """
        return outcome_of(which, self.arms, names_hidden=self.names_hidden)
