"""Sends one prompt to several arms at once: models and parameter sets.

Each arm is a separate call with its own timing and ledger row; one that fails does not stop the others.
What is shown of them, and the vote, are in :mod:`ipyllm.comparison.compared_answers`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final

from ipyllm.comparison.arms import Arm, make_arms, with_histories
from ipyllm.comparison.compared_answers import ComparedAnswers, VoteCast
from ipyllm.comparison.ended_call import EndedCall
from ipyllm.comparison.missing_keys import check_any_can_be_asked
from ipyllm.errors import LLMError, bad_request
from ipyllm.pipeline.call import Call
from ipyllm.registry.models import create_llm_service
from ipyllm.runtime.interruptible import CANCEL_GRACE_S, InterruptibleEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from ipyllm.events import Event
    from ipyllm.messages import Message
    from ipyllm.pipeline.waiting import Waiting
    from ipyllm.request import Provenance
    from ipyllm.response import ChatResponse
    from ipyllm.services.base import BaseLLMService

__all__ = ["LABEL_TAG", "Arm", "Comparison"]

LABEL_TAG: Final = "compared_as"
"""Tag of the calls: the label of their arm, which tells apart those of one model with the same parameters."""

_TOOL_SLICE_S = 0.05  # how long the waiting thread runs the tools of one arm before those of the next


class Comparison(ComparedAnswers):
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
    latest_vote : VoteCast or None
        The vote, unless it was withdrawn; ``vote_cast`` is its outcome.
    withdrawn_vote : VoteCast or None
        The vote that the latest :meth:`ask_again` withdrew; :meth:`put_back` casts it again.

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
        self.latest_vote: VoteCast | None = None
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
        self.arms = tuple(arm.with_tags(**{LABEL_TAG: arm.label}) for arm in self.arms)
        check_any_can_be_asked(self.arms)
        if len(self.arms) == 1:
            raise bad_request(
                f"There is nothing to compare {self.arms[0].model} with: name a second model, parameter set or prompt."
            )
        self.done = InterruptibleEvent()
        self._calls: list[Call | EndedCall] = []
        self._replaced: dict[int, Call | EndedCall] = {}
        self.withdrawn_vote: VoteCast | None = None
        self._n_running = len(self.arms)

    @classmethod
    def from_answers(
        cls,
        arms: Sequence[Arm],
        responses: Sequence[ChatResponse],
        *,
        id: str,  # noqa: A002 - the attribute
        blind: bool = False,
        revealed: bool = False,
        latest_vote: VoteCast | None = None,
    ) -> Self:
        """Return a comparison that has ended, of its arms and their responses: one that was made before.

        Parameters
        ----------
        arms : sequence of Arm
        responses : sequence of ChatResponse
            In the order of the arms.
        id, blind, latest_vote
            As the attributes.
        revealed : bool
            Whether the labels of a blind comparison have been shown.
        """
        made = cls.__new__(cls)
        made.id, made.arms, made.blind = id, tuple(arms), blind
        made.latest_vote, made.withdrawn_vote = latest_vote, None
        made._revealed = revealed  # noqa: SLF001 - its own class
        made._calls = list(map(EndedCall, responses))  # noqa: SLF001
        made._replaced, made._n_running, made.done = {}, 0, InterruptibleEvent()  # noqa: SLF001
        made.done.set()
        return made

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
        self._calls = [*calls]
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

    def ask_again(self, index: int, on_event: Callable[[Event], None] | None = None, *, arm: Arm | None = None) -> None:
        """Ask the arm at this index again; its answer takes the place of the earlier one. A vote is withdrawn.

        Parameters
        ----------
        on_event : callable, optional
            As for :meth:`start`, for this arm alone.
        arm : Arm, optional
            The arm with its service and request, which takes the place of that at this index: of a comparison from
            before a restart of the kernel, the ledger does not know these.

        Raises
        ------
        LLMError
            An answer is still streaming, or the arm cannot be asked. Nothing is changed.
        """
        self._started_calls()
        if not self.done.is_set():
            raise bad_request("An answer is still streaming: wait until all have ended.")
        arm, arms = self.arms[index] if arm is None else arm, self.arms
        arm.service.check()
        self.withdrawn_vote = None
        call = Call(arm.service, arm.request, on_event)
        self.arms = (*arms[:index], arm, *arms[index + 1 :])
        self.done, self._n_running = InterruptibleEvent(), 1
        # One that was interrupted below may end when another runs.
        call.done.listen(lambda: self._on_call_ended() if self._calls[index] is call else None)
        self._replaced[index], self._calls[index] = self._calls[index], call
        try:
            call.start()
            self.done.set_by = call.done.set_by
        except BaseException:
            call.cancel()
            self.put_back(index)
            self.arms, self._n_running = arms, 0
            self.done.set()
            raise
        withdrawn = self.latest_vote
        self.withdraw_vote()
        self.withdrawn_vote = withdrawn

    def put_back(self, index: int) -> None:
        """Let the answer that :meth:`ask_again` replaced last take its place again: nothing came in its stead.

        The vote on the answers, which it withdrew, is cast again.
        """
        self._calls[index] = self._replaced.pop(index)
        if self.withdrawn_vote is not None:
            self.cast_again(self.withdrawn_vote)

    def cancel(self) -> None:
        """Cancel all arms; partial answers are kept."""
        for call in self._calls:
            call.cancel()

    def cancel_arm(self, index: int) -> None:
        """Cancel the arm at this index; the others continue."""
        self._started_calls()[index].cancel()

    def wait_for(self, event: InterruptibleEvent, timeout: float | None = None) -> bool:
        """Wait for ``event`` in the thread that started the arms, and run their tools meanwhile."""
        with_tools = [
            call
            for call in self._calls
            if not isinstance(call, EndedCall) and call.request.tools and not call.done.is_set()
        ]
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

    def _started_calls(self) -> list[Call | EndedCall]:
        if not self._calls:
            raise RuntimeError("This comparison has not been started: call start() first.")
        return self._calls

    @property
    def has_started(self) -> bool:
        """Whether :meth:`start` was called."""
        return bool(self._calls)

    @property
    def responses(self) -> list[ChatResponse | None]:
        """Responses in the order of the arms; None for arms that have not ended."""
        return [call.response for call in self._calls] or [None] * len(self.arms)

    @property
    def errors(self) -> list[LLMError | None]:
        """Errors in the order of the arms; None for arms that succeeded or have not ended."""
        return [call.error for call in self._calls] or [None] * len(self.arms)
