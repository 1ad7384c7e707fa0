"""One prompt to several arms at once: models, and parameter sets, side by side through the ordinary service layer.

An arm is a model with a set of parameters. All start together, each is a call of its own with its own clock, row and
end; one that fails does not stop the others. What people made of the answers is kept by :meth:`Comparison.vote`.
"""

from __future__ import annotations

from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from ipyllm.comparison.arms import Arm, make_arms
from ipyllm.comparison.votes import UNDECIDED, cast_vote
from ipyllm.errors import LLMError
from ipyllm.pipeline.call import Call
from ipyllm.runtime.interruptible import InterruptibleEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Self

    import pandas as pd

    from ipyllm.events import Event
    from ipyllm.messages import Message
    from ipyllm.rendering import Column
    from ipyllm.request import Provenance
    from ipyllm.response import ChatResponse
    from ipyllm.services.base import BaseLLMService

__all__ = ["Arm", "Comparison", "compare"]


_CANCEL_GRACE_S = 5.0
_TOOL_TURN_S = 0.05  # how long one arm's tools may keep the waiting thread to themselves


class Comparison:
    """One prompt to several arms.

    Stages: made (everything was checked, nothing sent) → :meth:`start` → arms stream and end, each by itself →
    ``done`` is set when the last has ended.

    Parameters
    ----------
    prompt : str or iterable of Message
        The question, the same for all.
    models : sequence of str or BaseLLMService
        Names, aliases or services; without any, the default model.
    params : sequence of mapping, optional
        Sets of parameters; every model is asked with every set. Besides the model's parameters a set may have what
        ``service.chat`` takes: ``{"system": "Be brief."}``.
    system, conversation_history, tags, provenance
        As for ``service.chat``, the same for all arms.
    blind : bool
        Shuffle the arms, and show no names before a vote was cast.
    **options
        What else ``service.chat`` takes, for all arms: ``temperature``, ``max_tokens``, ``timeout``, ``schema``, …

    Attributes
    ----------
    id : str
        A ULID: the tag ``comparison`` of the calls, and the name votes are kept under.
    arms : tuple of Arm
    done : InterruptibleEvent
        Set when all arms have ended.
    vote_cast : str or None
        The label that was preferred last, or ``tie`` or ``both_bad``.

    Raises
    ------
    LLMError
        Before anything is sent: a model that does not exist or has no key, a parameter that cannot be right, fewer
        than two arms, the same arm twice.

    Examples
    --------
    >>> comparison = Comparison("Hello", models=["ollama/llama3.2"], params=[{"temperature": 0}, {"temperature": 1}])
    >>> [(arm.mark, arm.label) for arm in comparison.arms]
    [('A', 'ollama/llama3.2 · temperature=0'), ('B', 'ollama/llama3.2 · temperature=1')]
    >>> Comparison("Hello", models=["ollama/llama3.2"])
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: There is nothing to compare ollama/llama3.2 with: name a second model or parameter set.
    """

    def __init__(
        self,
        prompt: str | Iterable[Message],
        models: Sequence[str | BaseLLMService] = (),
        params: Sequence[Mapping[str, Any]] = (),
        *,
        system: str | None = None,
        conversation_history: Iterable[Message] | None = None,
        tags: Mapping[str, str] | None = None,
        provenance: Provenance | None = None,
        blind: bool = False,
        **options: Any,
    ) -> None:
        from ulid import ULID

        self.id = str(ULID())
        self.blind = bool(blind)
        self.vote_cast: str | None = None
        common = {
            "system": system,
            "conversation_history": list(conversation_history or ()),
            "tags": {**(tags or {}), "comparison": self.id},
            "provenance": provenance,
            **options,
        }
        self.arms = make_arms(prompt, models, params, common, shuffled=SystemRandom() if self.blind else None)
        self.done = InterruptibleEvent()
        self._calls: list[Call] = []
        self._left = len(self.arms)

    def __repr__(self) -> str:
        from ipyllm.rendering import columns_text

        return columns_text(self.columns())

    def _repr_html_(self) -> str:
        from ipyllm.rendering import COLUMNS_STYLE, STYLE, columns_html

        return STYLE + COLUMNS_STYLE + columns_html(self.columns())

    # ---- asking ----------------------------------------------------------------------------------

    def start(self, on_event: Callable[[int, Event], None] | None = None, *, waits: bool = False) -> Self:
        """Send all at once.

        Parameters
        ----------
        on_event : callable, optional
            Takes each event with its arm's index, on the service thread: it must return in microseconds.
        waits : bool
            Whether this thread is about to :meth:`wait` or :meth:`rest`, and will run the arms' tools meanwhile.
        """
        if self._calls:
            raise RuntimeError("This comparison was started already: make another one.")
        calls = [
            Call(arm.service, arm.request, None if on_event is None else partial(on_event, place))
            for place, arm in enumerate(self.arms)
        ]
        for call in calls:
            call.done.listen(self._one_less)
        self._calls = calls
        begun = 0
        try:
            for call in calls:
                call.start(waits=waits)
                begun += 1
        except BaseException:
            for call in calls[: begun + 1]:  # the one that was interrupted may have been sent, or not
                call.cancel()
            self._left -= len(calls) - begun
            if self._left <= 0:
                self.done.set()
            raise
        return self

    def _one_less(self) -> None:
        # All calls end on the service thread, one after the other.
        self._left -= 1
        if self._left <= 0:
            self.done.set()

    def cancel(self) -> None:
        """Stop all arms; what has arrived is kept."""
        for call in self._calls:
            call.cancel()

    def cancel_arm(self, place: int) -> None:
        """Stop the arm at this place; the others go on."""
        self._started()[place].cancel()

    def wait_for(self, signal: InterruptibleEvent, timeout: float | None = None) -> bool:
        """Wait for ``signal`` in the thread that started the arms, and run their tools meanwhile."""
        with_tools = [call for call in self._calls if call.request.tools and not call.done.is_set()]
        if not with_tools:
            return signal.wait(timeout)
        from time import monotonic

        until = None if timeout is None else monotonic() + timeout
        while not signal.is_set() and (until is None or monotonic() < until):
            for call in with_tools:
                if call.wait_for(
                    signal, _TOOL_TURN_S if until is None else min(_TOOL_TURN_S, max(0, until - monotonic()))
                ):
                    break
        return signal.is_set()

    def wait(self) -> Self:
        """Wait for the end of all arms, however they end, and return the comparison.

        Raises
        ------
        KeyboardInterrupt
            When the user interrupts; all arms are cancelled first, and what they had is kept.
        """
        self._started()
        try:
            self.wait_for(self.done)
        except BaseException:
            self.cancel()
            self.done.wait(_CANCEL_GRACE_S)
            raise
        return self

    async def wait_async(self) -> Self:
        """Like :meth:`wait`, for a coroutine on any loop."""
        import asyncio

        results = await asyncio.gather(*(call.wait_async() for call in self._started()), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, LLMError):
                self.cancel()
                raise result
        return self

    def _started(self) -> list[Call]:
        if not self._calls:
            raise RuntimeError("This comparison was not started yet: call start() first.")
        return self._calls

    # ---- what came of it -------------------------------------------------------------------------

    @property
    def responses(self) -> list[ChatResponse | None]:
        """Responses in the order of the arms; None for one that has not ended."""
        return [call.response for call in self._calls] or [None] * len(self.arms)

    @property
    def errors(self) -> list[LLMError | None]:
        """Why arms did not end well, in the order of the arms; None for those that did, or have not ended."""
        return [call.error for call in self._calls] or [None] * len(self.arms)

    @property
    def names_hidden(self) -> bool:
        """Whether the arms are still to be told apart by their marks alone."""
        return self.blind and self.vote_cast is None

    def columns(self) -> list[Column]:
        """Return the arms as the renderer draws them."""
        return [self.column(place) for place in range(len(self.arms))]

    def column(self, place: int, *, render: bool = True) -> Column:
        """Return one arm as the renderer draws it; without HTML if ``render`` is False."""
        from ipyllm.rendering import Column, footer_text, reasoning_html, to_html

        arm, response = self.arms[place], self.responses[place]
        label = "" if self.names_hidden else arm.label
        if response is None and self.done.is_set():
            return Column(arm.mark, label, "", "", "", error="It was stopped before it was sent.")
        if response is None:
            return Column(arm.mark, label, "", "", "running" if self._calls else "not started", running=True)
        error = (response.error_message or "") if response.status in {"error", "truncated"} else ""
        return Column(
            arm.mark,
            label,
            reasoning_html(response.reasoning) + to_html(response.content) if render else "",
            response.content,
            # Which model it was stands in the heading, or is not to be known yet; what it cost would tell.
            footer_text(_without_names(response, blind=self.names_hidden)),
            error if not self.names_hidden else error and f"This arm failed: {response.error_category}.",
            preferred=self.vote_cast == arm.label,
        )

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row for every arm.

        Returns
        -------
        DataFrame
            ``arm`` (its mark), ``label``, ``model``, ``params``, ``status`` (``running`` before its end), ``response``
            (the text), ``ttft_s``, ``total_s``, ``input_tokens``, ``output_tokens``, ``output_tps``, ``cost_usd``,
            ``usage_source``, ``error_category``, ``error_message``, ``preferred`` and ``call_id``, as the ledger has
            them (DESIGN §4).
        """
        import pandas as pd

        from ipyllm.dataframes.calls_frame import CallsFrame

        frame = CallsFrame([self._row(place) for place in range(len(self.arms))])
        counts = ["input_tokens", "output_tokens"]
        figures = ["ttft_s", "total_s", "output_tps", "cost_usd"]
        frame[counts] = frame[counts].astype("Int64")
        frame[figures] = frame[figures].astype("float64")
        assert isinstance(frame, pd.DataFrame)
        return frame

    def _row(self, place: int) -> dict[str, Any]:
        from ipyllm.response import ChatResponse

        arm = self.arms[place]
        response = self.responses[place] or ChatResponse(status="running")
        return {
            "arm": arm.mark,
            "label": arm.label,
            "model": arm.request.model,
            "params": dict(arm.request.params),
            "status": response.status,
            "response": response.content,
            "ttft_s": response.timing.ttft_s,
            "total_s": response.timing.total_s or None,
            "input_tokens": response.usage.input_tokens,
            "output_tokens": response.usage.output_tokens,
            "output_tps": response.timing.output_tps,
            "cost_usd": response.cost_usd,
            "usage_source": response.usage.source,
            "error_category": response.error_category,
            "error_message": response.error_message,
            "preferred": self.vote_cast == arm.label if self.vote_cast is not None else None,
            "call_id": response.call_id or None,
        }

    def vote(self, which: str, *, blind: bool | None = None, tags: Mapping[str, object] | None = None) -> str:
        """Keep which answer is better, in the ledger. A later vote takes the place of the one before.

        Parameters
        ----------
        which : str
            A mark (``"A"``), a label, or ``"tie"`` or ``"both_bad"``.
        blind : bool, optional
            Whether the names were hidden from whoever decided; by default as this comparison was shown.
        tags : mapping, optional
            To find the vote by.

        Returns
        -------
        str
            The label that was preferred, or ``"tie"`` or ``"both_bad"``.

        Raises
        ------
        LLMError
            There is no such arm, or the answers are not there yet.
        """
        outcome = self.outcome(which)
        if not self.done.is_set():
            raise LLMError("Vote when all answers are there: some are still coming.", category="bad_request")
        first = self.arms[0].request
        cast_vote(
            {arm.label: row or None for arm, row in zip(self.arms, self._call_ids(), strict=True)},
            outcome,
            prompt=first.prompt,
            blind=self.names_hidden if blind is None else blind,
            origin=first.provenance.origin,
            comparison=self.id,
            tags=tags,
        )
        self.vote_cast = outcome
        return outcome

    def _call_ids(self) -> list[str | None]:
        return [response.call_id if response is not None else None for response in self.responses]

    def outcome(self, which: str) -> str:
        """Return what a vote for ``which`` would be kept as: a label, ``"tie"`` or ``"both_bad"``.

        Raises
        ------
        LLMError
            There is no such arm.
        """
        wanted = which.strip()
        if wanted in UNDECIDED:
            return wanted
        for arm in self.arms:
            if wanted.upper() == arm.mark or (wanted == arm.label and not self.names_hidden):
                return arm.label
        known = [arm.mark if self.names_hidden else f"{arm.mark} ({arm.label})" for arm in self.arms]
        raise LLMError(
            f"There is no arm {which!r} to vote for; there are: {', '.join([*known, *UNDECIDED])}.",
            category="bad_request",
        )


def compare(
    prompt: str | Iterable[Message],
    models: Sequence[str | BaseLLMService] = (),
    params: Sequence[Mapping[str, Any]] = (),
    **options: Any,
) -> Comparison:
    """Ask several models, or one with several sets of parameters, at once, and wait for all answers.

    Parameters
    ----------
    prompt, models, params, **options
        As for :class:`Comparison`.

    Returns
    -------
    Comparison
        Shows itself in columns; ``.responses``, ``.to_dataframe()``, ``.vote("A")``. An arm that failed says so in
        its response's ``status``; the others have their answers.

    Raises
    ------
    LLMError
        Before anything is sent, when something about the arms cannot be right.
    """
    return Comparison(prompt, models, params, **options).start(waits=True).wait()


def _without_names(response: ChatResponse, *, blind: bool) -> ChatResponse:
    from dataclasses import replace

    return replace(response, model="", cost_usd=None) if blind else replace(response, model="")
